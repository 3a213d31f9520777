"""Points come out of a file, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipserve.errors import ClipserveError, InvalidEmbedding, InvalidInput, InvalidPayload
from clipserve.files import open_regular
from clipserve.parquet.columns import Columns, choose_columns, read_column, texts_of
from clipserve.parquet.layout import EMBEDDING, ID, FileError, FileFacts, read_facts
from clipserve.types import Floats, PayloadValue, Point

BUFFER = 1024 * 1024
"""Bytes that are read of a column at a time; whole row groups of foreign files may be larger than memory."""


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a file."""

    name: str
    """The point's id, or the row's number where it has none."""
    point: Point | None
    error: ClipserveError | None = None
    """Why the row is no point."""


class PointFile:
    """A file of points.

    Attributes:
        facts: what the file says about itself; None if `clipserve export` did not write it.
        columns: what its columns are.
        dim: numbers in an embedding; 0 if no row has any.
        rows: how many there are.
    """

    def __init__(self, path: Path, id_column: str = ID, embedding_column: str = EMBEDDING) -> None:
        """Opens the file; FileError if it is of no use. Close it, or use it in a `with`."""
        try:
            # A pipe would be waited for.
            open_regular(path).close()
            self._file = pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
        except pa.ArrowInvalid as error:
            raise FileError(f"it is no Parquet file: {error}") from error
        schema = self._file.schema_arrow
        self.facts: FileFacts | None = read_facts(schema)
        self.columns: Columns = choose_columns(schema, id_column, embedding_column, self.facts)
        self.rows: int = self._file.metadata.num_rows
        self.dim = self._dim(schema.field(embedding_column).type)

    def __enter__(self) -> PointFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _dim(self, kind: Any) -> int:
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        for batch in self._file.iter_batches(64, columns=[self.columns.embedding]):
            lengths = pc.list_value_length(batch.column(0)).drop_null()
            longest = pc.max(lengths).as_py()
            if longest:
                return int(longest)
        return 0

    def batches(
        self,
        size: int,
        schema: dict[str, str],
        *,
        with_embeddings: bool = True,
        with_sources: bool = False,
    ) -> Iterator[list[Row]]:
        """The rows, at most `size` at a time, with the payload fields that `schema` has.

        With `with_sources` points come with what they were made of, where the file has it; without
        `with_embeddings` they need it.
        """
        columns = self.columns
        fields = {name: column for name, column in columns.payload.items() if name in schema}
        names = [columns.id, *fields.values(), columns.source_uri]
        names += [columns.embedding] * with_embeddings
        names += [columns.source, columns.source_kind] * with_sources
        wanted = [name for name in names if name is not None]
        first = 1
        try:
            for batch in self._file.iter_batches(size, columns=wanted):
                # Arrow gives columns in the file's order.
                table = {name: batch.column(batch.schema.get_field_index(name)) for name in wanted}
                yield self._rows(table, fields, schema, first)
                first += batch.num_rows
        except pa.ArrowException as error:
            raise FileError(f"it is broken from row {first:,} on: {error}") from error
        except OSError as error:
            # Arrow tells of broken pages this way too.
            raise FileError(f"it cannot be read from row {first:,} on: {error}") from error

    def _rows(
        self, table: dict[str, Any], fields: dict[str, str], schema: dict[str, str], first: int
    ) -> list[Row]:
        columns = self.columns
        ids = [None if id is None else str(id) for id in texts_of(table[columns.id])]
        payloads: dict[str, list[Any]] = {
            name: read_column(table[column], schema[name]) for name, column in fields.items()
        }
        uris = texts_of(table[columns.source_uri]) if columns.source_uri else [None] * len(ids)
        sources: list[dict[str, Any] | ClipserveError] = [{} for _ in ids]
        if columns.embedding in table:
            sources = read_embeddings(table[columns.embedding], self.dim)
        if columns.source in table:
            kept = read_sources(table[columns.source], table[columns.source_kind or ""])
            sources = [both(*pair) for pair in zip(sources, kept, strict=True)]
        rows = []
        for i, (id, uri, source) in enumerate(zip(ids, uris, sources, strict=True)):
            name = id or f"row {first + i}"
            payload = {key: values[i] for key, values in payloads.items() if values[i] is not None}
            error = problem(id, payload, source)
            if error is not None:
                rows.append(Row(name, None, error))
            else:
                rows.append(Row(name, made_point(id or "", payload, uri, source)))
        return rows


def both(
    embedding: dict[str, Any] | ClipserveError, source: dict[str, Any] | ClipserveError | None
) -> dict[str, Any] | ClipserveError:
    """What a point is made of: its embedding and its source, as far as they were read."""
    if isinstance(embedding, ClipserveError):
        return embedding
    if isinstance(source, ClipserveError):
        return source
    if source is None:
        return embedding or InvalidInput("the file has no source of it")
    return embedding | source


def problem(id: str | None, payload: dict[str, Any], source: Any) -> ClipserveError | None:
    """Why a row is no point."""
    if not id:
        return InvalidInput("it has no id")
    if isinstance(source, ClipserveError):
        return source
    for name, value in payload.items():
        if isinstance(value, ValueError):
            return InvalidPayload(f"field {name!r}: {value}")
    return None


def made_point(id: str, payload: dict[str, PayloadValue], uri: str | None, source: Any) -> Point:
    """The point."""
    return Point(id, payload=payload, source_uri=uri or "", **source)


def read_embeddings(array: Any, dim: int) -> list[dict[str, Any] | ClipserveError]:
    """For each row `{"embedding": float32 [dim]}`, or why there is none."""
    lengths = pc.list_value_length(array)
    fits = pc.fill_null(pc.equal(lengths, dim or -1), False)
    numbers = array.filter(fits).flatten().cast(pa.float32(), safe=False)
    # Places without a number come out as NaN.
    rows: Floats = numbers.to_numpy(zero_copy_only=False).reshape(pc.sum(fits).as_py() or 0, dim)
    finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
    found: list[dict[str, Any] | ClipserveError] = []
    place = 0
    for fit, length in zip(fits.to_pylist(), lengths.to_pylist(), strict=True):
        if not fit:
            why = (
                "it has no embedding" if length is None else f"its embedding has {length} numbers, not {dim}"
            )
            found.append(InvalidEmbedding(why))
            continue
        whole = finite[place]
        row = rows[place]
        place += 1
        found.append({"embedding": row} if whole else InvalidEmbedding("its embedding is not finite"))
    return found


def read_sources(contents: Any, which: Any) -> list[dict[str, Any] | ClipserveError | None]:
    """For each row `{"image": bytes}` or `{"text": str}`, None for neither, or why it cannot be read."""
    found: list[dict[str, Any] | ClipserveError | None] = []
    for content, kind in zip(contents.to_pylist(), texts_of(which), strict=True):
        if content is None and kind is None:
            found.append(None)
        elif content is None or kind not in ("image", "text"):
            found.append(InvalidInput(f"its source is of kind {kind!r}, or has no bytes"))
        elif kind == "image":
            found.append({"image": content})
        else:
            try:
                found.append({"text": content.decode()})
            except UnicodeDecodeError:
                found.append(InvalidInput("its text is no UTF-8"))
    return found
