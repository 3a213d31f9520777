"""CIFAR pictures and labels in Parquet and Arrow files of Hugging Face."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clipserve.labels import vocabulary
from clipserve.tools.evaluation.bounded import MAX_FILE_BYTES, read_file
from clipserve.tools.evaluation.cifar_sets import CifarSet, is_other, other_set
from clipserve.tools.evaluation.dataset import DatasetError, Sample

IMAGES = ("img", "image", "images")
ARROW_FILE = b"ARROW1"
"""First bytes of an Arrow file that is not a stream."""


def table_samples(path: Path, ours: CifarSet) -> Iterator[Sample]:
    """The samples of a table with a column of pictures (bytes, or structs of bytes) and one of labels."""
    rows = read_table(path, (*IMAGES, *ours.columns, *other_set(ours).columns))
    image = next((name for name in IMAGES if name in rows), None)
    label = next((name for name in ours.columns if name in rows), None)
    if label is None and any(name in rows for name in other_set(ours).columns):
        raise is_other(path.name, ours)
    if image is None or label is None:
        raise DatasetError(
            f"{path} lacks a column {'img' if image is None else ours.columns[0]}; it has {rows.columns}"
        )
    classes = {name: number for number, name in enumerate(vocabulary(ours.command).classes)}
    return (
        Sample(
            f"{path.name}[{i}]",
            content_of(path, i, image, picture),
            number_of(path, i, label, number, classes),
        )
        for i, (picture, number) in enumerate(zip(rows[image], rows[label], strict=True))
    )


def content_of(path: Path, row: int, column: str, value: Any) -> bytes:
    """The bytes of a picture's file. Raises DatasetError."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(content, bytes) and content:
        return content
    if value is None:
        why = "is empty"
    elif isinstance(value, dict) and value.get("path"):
        why = f"names the file {value['path']!r} but does not contain it; save the set with embedded pictures"
    elif isinstance(value, dict):
        why = f"has no bytes, but {', '.join(value) or 'nothing'}"
    else:
        why = f"has type {type(value).__name__}, not the bytes of a picture's file"
    raise DatasetError(f"{path}: column {column!r} of row {row} {why}")


def number_of(path: Path, row: int, column: str, value: Any, classes: Mapping[str, int]) -> int:
    """The class from its number or name. Raises DatasetError."""
    if type(value) is int:
        return value
    if isinstance(value, str) and value.replace("_", " ") in classes:
        return classes[value.replace("_", " ")]
    what = "is empty" if value is None else f"is {value!r:.40}"
    raise DatasetError(f"{path}: column {column!r} of row {row} {what}, not the number or name of a class")


def bounded(path: Path, batches: Iterable[Any]) -> Iterator[Any]:
    """The batches of a table. Raises DatasetError if they unpack to more than MAX_FILE_BYTES."""
    size = 0
    for batch in batches:
        size += batch.nbytes
        if size > MAX_FILE_BYTES:
            raise DatasetError(f"{path} unpacks to more than {MAX_FILE_BYTES:,} bytes, which is the limit")
        yield batch


class Table(dict[str, Sequence[Any]]):
    """The wanted columns by name.

    Attributes:
        columns: the names of all columns of the file, for messages.
    """

    columns = ""


def read_table(path: Path, wanted: Sequence[str]) -> Table:
    """The wanted columns. Raises DatasetError if pyarrow is missing or the file is not a table."""
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise DatasetError("reading Parquet and Arrow files needs pyarrow: pip install pyarrow") from None
    kind = "Arrow" if path.suffix == ".arrow" else "Parquet"
    try:
        content = io.BytesIO(read_file(path))
        if kind == "Parquet":
            file = pyarrow.parquet.ParquetFile(content)
            size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
            if size > MAX_FILE_BYTES:
                raise DatasetError(f"{path} unpacks to {size:,} bytes; the limit is {MAX_FILE_BYTES:,}")
            names = file.schema_arrow.names
            table = file.read([name for name in names if name in wanted])
        else:
            stream = content.getbuffer()[: len(ARROW_FILE)] != ARROW_FILE
            opened = pyarrow.ipc.open_stream(content) if stream else pyarrow.ipc.open_file(content)
            names = opened.schema.names
            columns = [name for name in names if name in wanted]
            batches = opened if stream else map(opened.get_batch, range(opened.num_record_batches))
            table = pyarrow.Table.from_batches(bounded(path, (batch.select(columns) for batch in batches)))
        columns_read = Table(table.to_pydict())
    except DatasetError:
        raise
    except (OSError, ValueError, MemoryError, pyarrow.ArrowException) as error:
        raise DatasetError(f"{path} is not a readable {kind} file: {error}") from error
    columns_read.columns = ", ".join(names) or "none"
    return columns_read
