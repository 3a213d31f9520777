"""Embeddings in Parquet files. Arrays are lists of any numbers, as `footer.open_parquet` reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from clipserve.errors import ClipserveError, InvalidEmbedding
from clipserve.types import Floats


def usual_length(array: Any) -> int:
    """The most frequent length of the lists; 0 if all are empty."""
    lengths = pc.list_value_length(array).drop_null()
    counts = pc.value_counts(lengths.filter(pc.greater(lengths, 0))).to_pylist()
    return max(counts, key=lambda count: count["counts"])["values"] if counts else 0


def read_embeddings(array: Any, dim: int) -> list[dict[str, Any] | ClipserveError]:
    """For each row `{"embedding": float32 [dim]}` or the error."""
    lengths = pc.list_value_length(array)
    fits = pc.fill_null(pc.equal(lengths, dim or -1), False)
    count = pc.sum(fits).as_py() or 0
    numbers = array.filter(fits).flatten()
    valid = numbers.is_valid().to_numpy(zero_copy_only=False).reshape(count, dim).all(axis=1)
    rows: Floats = as_float32(numbers).reshape(count, dim)
    finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
    read: list[dict[str, Any] | ClipserveError] = []
    place = 0
    for fit, length in zip(fits.to_pylist(), lengths.to_pylist(), strict=True):
        if not fit:
            why = (
                "it has no embedding" if length is None else f"its embedding has {length} numbers, not {dim}"
            )
            read.append(InvalidEmbedding(why))
            continue
        if not valid[place]:
            read.append(InvalidEmbedding("its embedding has a null in place of a number"))
        elif not finite[place]:
            read.append(InvalidEmbedding("its embedding is not finite"))
        else:
            read.append({"embedding": rows[place]})
        place += 1
    return read


def as_float32(numbers: Any) -> Floats:
    """The numbers, rounded to float32; NaN for null."""
    if pa.types.is_decimal(numbers.type):
        # Arrow cannot cast narrow decimals to float32.
        numbers = numbers.cast(pa.float64())
    return np.asarray(numbers.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False), np.float32)
