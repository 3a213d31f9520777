"""Converts embeddings to messages and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clipserve.errors import InternalError
from clipserve.types import BIT_FORMATS, EMBEDDING_DTYPES, Floats
from clipserve.v1 import common_pb2

FORMATS: dict[str, common_pb2.EmbeddingFormat] = {
    "float32": common_pb2.EMBEDDING_FORMAT_FLOAT32_LE,
    "float16": common_pb2.EMBEDDING_FORMAT_FLOAT16_LE,
    "int8": common_pb2.EMBEDDING_FORMAT_INT8,
    "uint8": common_pb2.EMBEDDING_FORMAT_UINT8,
    "binary": common_pb2.EMBEDDING_FORMAT_BINARY,
    "ubinary": common_pb2.EMBEDDING_FORMAT_UBINARY,
}
FIELDS = {"float32": "float32_le", "float16": "float16_le"}
"""Fields of the message that are not called like the format."""


def write_embedding(embedding: npt.ArrayLike) -> common_pb2.Embedding:
    """The message of an embedding.

    Raises ValueError unless it is [D] with finite float32 numbers, or for uint8, whose zero point is 128.
    """
    array = np.asarray(embedding)
    if array.dtype == np.uint8:
        raise ValueError('a uint8 embedding is shifted by 128: pass clipserve.dequantize(embedding, "uint8")')
    with np.errstate(over="ignore"):
        numbers = array.astype("<f4")
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(f"an embedding has shape [D], not {list(numbers.shape)}")
    if not np.isfinite(numbers).all():
        raise ValueError("an embedding must not have NaN or infinite numbers")
    return common_pb2.Embedding(float32_le=numbers.tobytes())


def read_embedding(embedding: common_pb2.Embedding) -> Floats:
    """float32 [D], from any encoding of floats."""
    kind = embedding.WhichOneof("data")
    if kind == "float16_le":
        return np.frombuffer(embedding.float16_le, "<f2").astype(np.float32)
    if kind == "values":
        return np.array(embedding.values.values, np.float32)
    return np.frombuffer(embedding.float32_le, "<f4").astype(np.float32)


def row_width(dim: int, format: str) -> int:
    """Numbers of a row of `dim` dimensions: bytes, for bits."""
    return dim // 8 if format in BIT_FORMATS else dim


def row_bytes(dim: int, format: str) -> int:
    """Bytes of a row of `dim` dimensions in a message."""
    return row_width(dim, format) * np.dtype(EMBEDDING_DTYPES[format]).itemsize


def read_row(embedding: common_pb2.Embedding, format: str, dim: int) -> npt.NDArray[Any]:
    """The numbers of an embedding of `dim` dimensions that was asked for in `format`: see row_width.

    Raises InternalError if the server sent another format or size.
    """
    kind = embedding.WhichOneof("data")
    if kind == "values" and format == "float32":
        row: npt.NDArray[Any] = read_embedding(embedding)
    elif kind == FIELDS.get(format, format):
        dtype = np.dtype(EMBEDDING_DTYPES[format])
        data: bytes = getattr(embedding, kind)
        whole = data[: len(data) // dtype.itemsize * dtype.itemsize]
        row = np.frombuffer(whole, dtype.newbyteorder("<")).astype(dtype)
    else:
        raise InternalError(f"the server sent an embedding as {kind} instead of {format}")
    if len(row) != row_width(dim, format):
        raise InternalError(f"the server sent {len(row)} numbers, not {row_width(dim, format)}")
    return row
