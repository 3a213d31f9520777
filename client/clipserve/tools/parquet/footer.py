"""Opens Parquet files with Parquet's own types.

Arrow writes its own schema into the file and reads columns by it. It cannot read some of its types: pyarrow
25.0 fails on a null row in a fixed-size list. So the data are read without Arrow's schema, which also leaves
fewer types. Arrow's schema still tells what a column means: a duration is not a whole number.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from clipserve.inputs.files import open_regular

MAGIC = b"PAR1"
ARROW_SCHEMA, HIDDEN = b"ARROW:schema", b"hidden:schem"
"""The key of Arrow's schema in the file's metadata, and an unused key of the same length."""
BUFFER = 1024 * 1024
"""Bytes of a column to read at a time. Whole row groups may be larger than memory."""


def open_parquet(path: Path) -> tuple[Any, Any]:
    """The file, which reads with Parquet's types, and its Arrow schema.

    Raises pyarrow.ArrowInvalid for what is not Parquet, OSError.
    """
    # Only a regular file: opening a pipe would block.
    with open_regular(path) as file:
        footer = read_footer(file)
    options = {"buffer_size": BUFFER, "pre_buffer": False}
    parquet = pq.ParquetFile(path, **options)
    schema = parquet.schema_arrow
    if footer is None or ARROW_SCHEMA not in footer:
        return parquet, schema
    parquet.close()
    # The last occurrence, as the metadata follow the names of columns.
    footer = HIDDEN.join(footer.rsplit(ARROW_SCHEMA, 1))
    alone = MAGIC + footer + struct.pack("<I", len(footer)) + MAGIC
    return pq.ParquetFile(path, metadata=pq.read_metadata(io.BytesIO(alone)), **options), schema


def read_footer(file: Any) -> bytes | None:
    """The encoded metadata at the end of the file; None if there are none."""
    size = file.seek(0, io.SEEK_END)
    if size < 12:
        return None
    file.seek(size - 8)
    length, magic = struct.unpack("<I4s", file.read(8))
    if magic != MAGIC or length > size - 12:
        return None
    file.seek(size - 8 - length)
    return bytes(file.read(length))


def marked_columns(file: Any) -> dict[str, str]:
    """The logical type (`UUID`, `JSON`, …) of each column that has one, by the column's path."""
    columns = [file.schema.column(i) for i in range(len(file.schema.names))]
    return {column.path: column.logical_type.type for column in columns if column.logical_type.type != "NONE"}
