"""Embeddings in protobuf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from clipserve.v1 import common_pb2

from clipserve_gateway.errors import InvalidEmbedding
from clipserve_gateway.types import Floats

UNIT_TOLERANCE = float(np.finfo(np.float32).eps)
"""Rounding to float32 changes the length of a normalized embedding by less than this."""
LEVELS = 127
"""int8 and uint8 embeddings: the steps from 0 to 1.

The same for all models. A smaller range than −1 … 1 would have finer steps, and clip: embeddings of OpenAI's
ViT-B/32 have single numbers of 0.75.
"""
ZERO_POINT = 128
"""The number 0 as uint8."""
SIGN_BIT = 0x80
"""Flipping it subtracts or adds 128: unsigned bytes become signed ones, and back."""

Format: TypeAlias = int
"""A value of common_pb2.EmbeddingFormat."""
BITS: dict[Format, int] = {
    common_pb2.EMBEDDING_FORMAT_FLOAT16_LE: 16,
    common_pb2.EMBEDDING_FORMAT_INT8: 8,
    common_pb2.EMBEDDING_FORMAT_UINT8: 8,
    common_pb2.EMBEDDING_FORMAT_BINARY: 1,
    common_pb2.EMBEDDING_FORMAT_UBINARY: 1,
}
FLOAT_BITS = 32
QUANTIZED: frozenset[Format] = frozenset(BITS) - {common_pb2.EMBEDDING_FORMAT_FLOAT16_LE}
"""Formats without floats; they are of normalized embeddings only."""
WIRE_TYPES = {"float32_le": "<f4", "float16_le": "<f2", "int8": "i1", "uint8": "u1"}
"""The fields of bytes that can be read, and the type of their numbers."""


def read_embedding(embedding: common_pb2.Embedding, field: str) -> Floats:
    """The embedding, float32 [D], normalized.

    Raises InvalidEmbedding if it is empty, zero or not finite, or consists of bits.

    An embedding that is already normalized is not changed, so that stored embeddings can be written back.
    """
    kind = embedding.WhichOneof("data")
    if kind is None:
        raise InvalidEmbedding("set float32_le, float16_le, values, int8 or uint8", field=field)
    path = f"{field}.{kind}"
    numbers = read_numbers(embedding, kind, path)
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


def read_numbers(embedding: common_pb2.Embedding, kind: str, path: str) -> Floats:
    """The numbers of the field `kind`, float32 [D], with a scale of any size. Raises InvalidEmbedding."""
    if kind == "values":
        return np.array(embedding.values.values, np.float32)
    if kind not in WIRE_TYPES:
        raise InvalidEmbedding(
            f"{kind} has only the signs of the numbers and cannot be searched or stored; send float32_le, "
            "float16_le, int8 or uint8",
            field=path,
        )
    dtype = np.dtype(WIRE_TYPES[kind])
    data: bytes = getattr(embedding, kind)
    if len(data) % dtype.itemsize:
        raise InvalidEmbedding(
            f"{len(data)} bytes are not a multiple of {dtype.itemsize}, the size of one number",
            field=path,
        )
    numbers = np.frombuffer(data, dtype).astype(np.float32)
    return numbers - np.float32(ZERO_POINT) if kind == "uint8" else numbers


def write_embedding(embedding: Floats, format: Format) -> common_pb2.Embedding:
    """The embedding, float32 [D], in the requested format; float32_le by default.

    For formats of integers and bits it must have length 1, and for bits D must be a multiple of 8.
    """
    if format == common_pb2.EMBEDDING_FORMAT_FLOAT16_LE:
        return common_pb2.Embedding(float16_le=embedding.astype("<f2").tobytes())
    if format == common_pb2.EMBEDDING_FORMAT_FLOAT_LIST:
        return common_pb2.Embedding(values=common_pb2.FloatList(values=embedding.tolist()))
    if format in QUANTIZERS:
        field, quantize = QUANTIZERS[format]
        message = common_pb2.Embedding()
        setattr(message, field, quantize(embedding).tobytes())
        return message
    return common_pb2.Embedding(float32_le=embedding.astype("<f4").tobytes())


def to_int8(embedding: Floats) -> npt.NDArray[np.int8]:
    """round(127 × number), half to even: int8 [D], −127 … 127."""
    # The length, and so a number, can be above 1 by a rounding error.
    return np.rint(embedding * np.float32(LEVELS)).clip(-LEVELS, LEVELS).astype(np.int8)


def to_uint8(embedding: Floats) -> npt.NDArray[np.uint8]:
    """The int8 numbers plus 128: uint8 [D], 1 … 255."""
    return to_int8(embedding).view(np.uint8) ^ np.uint8(SIGN_BIT)


def to_ubinary(embedding: Floats) -> npt.NDArray[np.uint8]:
    """The bits `number > 0`, the first number in the highest bit: uint8 [D / 8]."""
    return np.packbits(embedding > 0)


def to_binary(embedding: Floats) -> npt.NDArray[np.int8]:
    """The bytes of to_ubinary minus 128: int8 [D / 8]."""
    return (to_ubinary(embedding) ^ np.uint8(SIGN_BIT)).view(np.int8)


QUANTIZERS: dict[Format, tuple[str, Callable[[Floats], npt.NDArray[Any]]]] = {
    common_pb2.EMBEDDING_FORMAT_INT8: ("int8", to_int8),
    common_pb2.EMBEDDING_FORMAT_UINT8: ("uint8", to_uint8),
    common_pb2.EMBEDDING_FORMAT_BINARY: ("binary", to_binary),
    common_pb2.EMBEDDING_FORMAT_UBINARY: ("ubinary", to_ubinary),
}
"""Field of the message, and how its numbers are made."""


def embedding_bytes(dim: int, format: Format) -> int:
    """Bytes of one embedding in a message, without framing."""
    return dim * BITS.get(format, FLOAT_BITS) // 8
