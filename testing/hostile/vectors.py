"""Embeddings of the wrong length, of numbers that are none, and sound ones at the edges."""

from __future__ import annotations

import functools
import math

import numpy as np
from clipserve.v1 import common_pb2

from testing.hostile.cases import ANSWERED, Item

INVALID, MISMATCH = "EMBEDDING_INVALID", "DIMENSION_MISMATCH"
Embedding = common_pb2.Embedding


def packed(*numbers: float, kind: str = "<f4") -> Embedding:
    """Numbers as bytes."""
    data = np.array(numbers, np.float64).astype(kind).tobytes()
    return Embedding(float32_le=data) if kind == "<f4" else Embedding(float16_le=data)


def listed(*numbers: float) -> Embedding:
    """Numbers as numbers."""
    return Embedding(values=common_pb2.FloatList(values=numbers))


@functools.cache
def vectors(dim: int) -> list[Item[Embedding]]:
    """Embeddings for a collection of so many dimensions; the field is within the embedding."""
    ones = [1.0] * dim
    rest = ones[1:]
    return [
        Item("vector not set", lambda: Embedding(), INVALID),
        Item("vector of 0 bytes", lambda: Embedding(float32_le=b""), INVALID, "float32_le"),
        Item("vector of 0 bytes of float16", lambda: Embedding(float16_le=b""), INVALID, "float16_le"),
        Item("vector of no numbers", lambda: listed(), INVALID, "values"),
        Item("vector of 1 byte", lambda: Embedding(float32_le=b"a"), INVALID, "float32_le"),
        Item(
            "vector one byte short", lambda: Embedding(float32_le=bytes(4 * dim - 1)), INVALID, "float32_le"
        ),
        Item("vector one byte long", lambda: Embedding(float32_le=bytes(4 * dim + 1)), INVALID, "float32_le"),
        Item(
            "vector of odd bytes of float16",
            lambda: Embedding(float16_le=bytes(2 * dim + 1)),
            INVALID,
            "float16_le",
        ),
        Item("vector of one number", lambda: packed(1.0), MISMATCH),
        Item("vector one number short", lambda: packed(*rest), MISMATCH),
        Item("vector one number long", lambda: packed(*ones, 1.0), MISMATCH),
        Item("vector of a million numbers", lambda: packed(*[1.0] * 1_000_000), MISMATCH),
        Item("vector of a million listed numbers", lambda: listed(*[1.0] * 1_000_000), MISMATCH),
        Item(
            "vector of float16 taken for float32", lambda: Embedding(float32_le=b"\x00\x3c" * dim), MISMATCH
        ),
        Item("vector with NaN", lambda: packed(math.nan, *rest), INVALID, "float32_le"),
        Item("vector with listed NaN", lambda: listed(math.nan, *rest), INVALID, "values"),
        Item(
            "vector with NaN of float16", lambda: packed(math.nan, *rest, kind="<f2"), INVALID, "float16_le"
        ),
        Item("vector with infinity", lambda: packed(math.inf, *rest), INVALID, "float32_le"),
        Item(
            "vector with −infinity of float16",
            lambda: packed(-math.inf, *rest, kind="<f2"),
            INVALID,
            "float16_le",
        ),
        Item(
            "vector of bits all set", lambda: Embedding(float32_le=b"\xff" * 4 * dim), INVALID, "float32_le"
        ),
        Item("vector of a million zeros", lambda: packed(*[0.0] * 1_000_000), INVALID, "float32_le"),
        Item("vector of zeros", lambda: packed(*[0.0] * dim), INVALID, "float32_le"),
        Item("vector of −0", lambda: packed(*[-0.0] * dim), INVALID, "float32_le"),
        Item("vector of the smallest numbers", lambda: Embedding(float32_le=b"\1\0\0\0" * dim), ANSWERED),
        Item("vector of the largest numbers", lambda: packed(*[3.4e38] * dim), ANSWERED),
        Item("vector of largest and smallest", lambda: packed(3.4e38, *[1e-45] * (dim - 1)), ANSWERED),
        Item("vector of text", lambda: Embedding(float32_le=(b"drop table; " * dim)[: 4 * dim]), ANSWERED),
        Item("vector of listed numbers", lambda: listed(*ones), ANSWERED),
        Item("vector of 0 bytes of int8", lambda: Embedding(int8=b""), INVALID, "int8"),
        Item("vector of zeros of int8", lambda: Embedding(int8=bytes(dim)), INVALID, "int8"),
        Item("vector one byte long of int8", lambda: Embedding(int8=b"a" * (dim + 1)), MISMATCH),
        Item("vector of the lowest int8", lambda: Embedding(int8=b"\x80" * dim), ANSWERED),
        Item("vector of 0 bytes of uint8", lambda: Embedding(uint8=b""), INVALID, "uint8"),
        Item("vector of zero points of uint8", lambda: Embedding(uint8=b"\x80" * dim), INVALID, "uint8"),
        Item("vector one byte short of uint8", lambda: Embedding(uint8=bytes(dim - 1)), MISMATCH),
        Item("vector of bytes of uint8", lambda: Embedding(uint8=bytes(dim)), ANSWERED),
        Item("vector of bits", lambda: Embedding(binary=b"a" * (dim // 8)), INVALID, "binary"),
        Item("vector of as many bytes of bits", lambda: Embedding(ubinary=b"a" * dim), INVALID, "ubinary"),
        Item("vector of no bits", lambda: Embedding(ubinary=b""), INVALID, "ubinary"),
    ]
