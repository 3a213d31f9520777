"""Embeddings in protobuf."""

from __future__ import annotations

import numpy as np
from clipserve.v1 import common_pb2

from clipserve_gateway.errors import InvalidEmbedding
from clipserve_gateway.types import Floats

UNIT_TOLERANCE = float(np.finfo(np.float32).eps)
"""Rounding to float32 changes the length of a normalized embedding by less than this."""


def read_embedding(embedding: common_pb2.Embedding, field: str) -> Floats:
    """The embedding, float32 [D], normalized. Raises InvalidEmbedding if it is empty, zero or not finite.

    An embedding that is already normalized is not changed, so that stored embeddings can be written back.
    """
    kind = embedding.WhichOneof("data")
    if kind is None:
        raise InvalidEmbedding("set float32_le, float16_le or values", field=field)
    path = f"{field}.{kind}"
    if kind == "values":
        numbers = np.array(embedding.values.values, np.float32)
    else:
        dtype = np.dtype("<f4" if kind == "float32_le" else "<f2")
        data: bytes = getattr(embedding, kind)
        if len(data) % dtype.itemsize:
            raise InvalidEmbedding(
                f"{len(data)} bytes are not a multiple of {dtype.itemsize}, the size of one number",
                field=path,
            )
        numbers = np.frombuffer(data, dtype).astype(np.float32)
    if not len(numbers):
        raise InvalidEmbedding("the embedding is empty", field=path)
    if not np.isfinite(numbers).all():
        raise InvalidEmbedding("the embedding has numbers that are not finite", field=path)
    # In float64, because squares of large float32 numbers overflow.
    norm = np.linalg.norm(numbers.astype(np.float64))
    if norm == 0:
        raise InvalidEmbedding("all numbers of the embedding are 0, so it has no direction", field=path)
    if abs(norm - 1) <= UNIT_TOLERANCE:
        return numbers
    return (numbers / norm).astype(np.float32)


def write_embedding(embedding: Floats, format: int) -> common_pb2.Embedding:
    """The embedding in the requested format; float32_le by default."""
    if format == common_pb2.EMBEDDING_FORMAT_FLOAT16_LE:
        return common_pb2.Embedding(float16_le=embedding.astype("<f2").tobytes())
    if format == common_pb2.EMBEDDING_FORMAT_FLOAT_LIST:
        return common_pb2.Embedding(values=common_pb2.FloatList(values=embedding.tolist()))
    return common_pb2.Embedding(float32_le=embedding.astype("<f4").tobytes())
