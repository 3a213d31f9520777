"""Opens Parquet files by the types that Parquet itself defines.

Arrow writes its own schema beside Parquet's, and reads columns back by it. Some of these types cannot be
read: pyarrow fails on a null row in a fixed-size list (seen with 25.0). So the data is read without Arrow's
schema, which leaves few types: lists are lists, texts are texts, whatever wrote them. What a column means is
still told by Arrow's schema, where the file has one: a duration is no whole number.
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
"""Key of Arrow's schema among the file's metadata, and a key of the same length that nobody reads."""
BUFFER = 1024 * 1024
"""Bytes that are read of a column at a time; whole row groups of foreign files may be larger than memory."""


def open_parquet(path: Path) -> tuple[Any, Any]:
    """The file, which reads by Parquet's types, and its schema as Arrow understands it.

    Raises pyarrow.ArrowInvalid for what is not Parquet, OSError.
    """
    # A pipe would be waited for.
    with open_regular(path) as file:
        footer = read_footer(file)
    options = {"buffer_size": BUFFER, "pre_buffer": False}
    found = pq.ParquetFile(path, **options)
    schema = found.schema_arrow
    if footer is None or ARROW_SCHEMA not in footer:
        return found, schema
    found.close()
    # Metadata follow the names of columns.
    footer = HIDDEN.join(footer.rsplit(ARROW_SCHEMA, 1))
    alone = MAGIC + footer + struct.pack("<I", len(footer)) + MAGIC
    return pq.ParquetFile(path, metadata=pq.read_metadata(io.BytesIO(alone)), **options), schema


def read_footer(file: Any) -> bytes | None:
    """The encoded metadata at a file's end; None where there is none that can be read alone."""
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
    """Parquet's own mark of each column that has one, by the column's path: `UUID`, `JSON`, …"""
    columns = [file.schema.column(i) for i in range(len(file.schema.names))]
    return {column.path: column.logical_type.type for column in columns if column.logical_type.type != "NONE"}
