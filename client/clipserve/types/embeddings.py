"""Arrays of embeddings, and their small forms."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from clipserve.safe_text import quoted
from clipserve.types.payload import Floats

EmbeddingFormat: TypeAlias = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
"""``float32``, ``float16``: the numbers. ``int8``: round(127 × number). ``uint8``: that plus 128.
``ubinary``: the bits number > 0, eight in a byte, the first number in the highest bit. ``binary``: these
bytes minus 128. Cohere, infinity and sentence-transformers use the same names."""

EMBEDDING_DTYPES: dict[str, npt.DTypeLike] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "uint8": np.uint8,
    "binary": np.int8,
    "ubinary": np.uint8,
}
"""The type of the array's numbers."""
BIT_FORMATS = ("binary", "ubinary")
LEVELS = 127
"""Steps from 0 to 1 in ``int8`` and ``uint8``, the same for all models."""
ZERO_POINT = 128
"""The number 0 in ``uint8``."""


def check_format(format: str) -> None:
    """Raises ValueError unless it is an EmbeddingFormat."""
    if format not in EMBEDDING_DTYPES:
        known = ", ".join(get_args(EmbeddingFormat))
        raise ValueError(f"format is {quoted(format)}; it must be one of {known}")


def dequantize(embeddings: npt.NDArray[Any], format: EmbeddingFormat) -> Floats:
    """Embeddings of a format as float32 [..., D].

    The inverse of the format as far as it has one: numbers of ``int8`` and ``uint8`` are exact to 1/254, and
    the length of a row is near 1. Of bits, only the sign is left: every number becomes 1/√D or −1/√D.

    Args:
        embeddings: [..., D], or [..., D / 8] bytes for ``binary`` and ``ubinary``.
        format: the format that they were asked for with.

    Raises ValueError for an unknown format, and TypeError if the array does not have its dtype.
    """
    check_format(format)
    array = np.asarray(embeddings)
    if array.dtype != EMBEDDING_DTYPES[format]:
        raise TypeError(f"{format} embeddings are {np.dtype(EMBEDDING_DTYPES[format])}, not {array.dtype}")
    if format in BIT_FORMATS:
        packed = array.view(np.uint8) ^ np.uint8(ZERO_POINT if format == "binary" else 0)
        signs = np.unpackbits(packed, axis=-1).astype(np.float32) * 2 - 1
        return np.asarray(signs / np.sqrt(np.float32(max(1, signs.shape[-1]))), np.float32)
    numbers = array.astype(np.float32)
    if format in ("int8", "uint8"):
        numbers = (numbers - np.float32(ZERO_POINT if format == "uint8" else 0)) / np.float32(LEVELS)
    return numbers
