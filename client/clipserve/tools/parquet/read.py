"""Reads points from a file, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from clipserve.errors import ClipserveError, InvalidInput, InvalidPayload
from clipserve.tools.parquet.columns import Columns, choose_columns
from clipserve.tools.parquet.embeddings import read_embeddings, usual_length
from clipserve.tools.parquet.footer import marked_columns, open_parquet
from clipserve.tools.parquet.layout import EMBEDDING, ID, FileError, FileFacts, read_facts
from clipserve.tools.parquet.types import plain
from clipserve.tools.parquet.values import ids_of, read_column, texts_of
from clipserve.types import Point

DIM_SAMPLE = 1_024
"""Rows to read at a time to find the dimension of the embeddings."""


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a file."""

    name: str
    """The point's id, or the row's number where it has none."""
    point: Point | None
    number: int
    """Position in the file, from 1."""
    error: ClipserveError | None = None
    """Why the row is not a point."""


class PointFile:
    """A file of points.

    Attributes:
        facts: the metadata; None if `clipserve export` did not write the file.
        columns: the columns by role.
        dim: numbers in an embedding; 0 if no row has any.
        rows: number of rows.
    """

    def __init__(self, path: Path, id_column: str = ID, embedding_column: str = EMBEDDING) -> None:
        """Opens the file. Raises FileError. Close it, or use it in a `with` statement."""
        try:
            self._file, schema = open_parquet(path)
        except pa.ArrowInvalid as error:
            raise FileError(f"not a Parquet file: {error}") from error
        except pa.ArrowException as error:
            raise FileError(f"cannot read the file: {error}") from error
        try:
            self.facts: FileFacts | None = read_facts(schema)
            self.columns: Columns = choose_columns(
                schema, id_column, embedding_column, self.facts, marked_columns(self._file)
            )
            self.rows: int = self._file.metadata.num_rows
            self.dim = self._dim(plain(schema.field(embedding_column).type))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> PointFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def _dim(self, kind: Any) -> int:
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        with readable(1):
            for batch in self._file.iter_batches(DIM_SAMPLE, columns=[self.columns.embedding]):
                if length := usual_length(batch.column(0)):
                    return length
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

        `with_sources` reads the sources, if the file has them. Without `with_embeddings`, points need one.
        """
        columns = self.columns
        fields = {name: column for name, column in columns.payload.items() if name in schema}
        names = [columns.id, *fields.values(), columns.source_uri]
        names += [columns.embedding] * with_embeddings
        names += [columns.source, columns.source_kind] * with_sources
        wanted = [name for name in names if name is not None]
        first = 1
        batches = self._file.iter_batches(size, columns=wanted)
        while True:
            with readable(first):
                batch = next(batches, None)
                if batch is None:
                    return
                # The batch has the columns in the file's order.
                table = {name: batch.column(batch.schema.get_field_index(name)) for name in wanted}
                rows = self._rows(table, fields, schema, first)
            yield rows
            first += batch.num_rows

    def _rows(
        self, table: dict[str, Any], fields: dict[str, str], schema: dict[str, str], first: int
    ) -> list[Row]:
        columns = self.columns
        ids = ids_of(table[columns.id])
        payloads: dict[str, list[Any]] = {
            name: read_column(table[column], schema[name]) for name, column in fields.items()
        }
        uris = texts_of(table[columns.source_uri]) if columns.source_uri else [None] * len(ids)
        sources: list[dict[str, Any] | ClipserveError] = [{} for _ in ids]
        if columns.embedding in table:
            sources = read_embeddings(table[columns.embedding], self.dim)
        if columns.source in table:
            kept = read_sources(table[columns.source], table[columns.source_kind or ""])
            sources = [merged(*pair) for pair in zip(sources, kept, strict=True)]
        rows = []
        for i, (id, uri, source) in enumerate(zip(ids, uris, sources, strict=True)):
            number = first + i
            name = id if id and isinstance(id, str) else f"row {number}"
            payload = {key: values[i] for key, values in payloads.items() if values[i] is not None}
            error = problem(id, payload, uri, source)
            given: Any = source
            point = None if error else Point(name, payload=payload, source_uri=uri or "", **given)
            rows.append(Row(name, point, number, error))
        return rows


@contextmanager
def readable(row: int) -> Iterator[None]:
    """Raises FileError for errors of Arrow; `row` is the first row of the broken batch."""
    try:
        yield
    except pa.ArrowException as error:
        raise FileError(f"the file is broken from row {row:,} on: {error}") from error
    except OSError as error:
        # Arrow raises it for some broken pages too.
        raise FileError(f"cannot read the file from row {row:,} on: {error}") from error


def merged(
    embedding: dict[str, Any] | ClipserveError, source: dict[str, Any] | ClipserveError | None
) -> dict[str, Any] | ClipserveError:
    """Embedding and source of a point, or the error."""
    if isinstance(embedding, ClipserveError):
        return embedding
    if isinstance(source, ClipserveError):
        return source
    if source is None:
        return embedding or InvalidInput("it has no source in the file")
    return embedding | source


def problem(
    id: str | ValueError | None, payload: dict[str, Any], uri: Any, source: Any
) -> ClipserveError | None:
    """Why the row is not a point; None if it is."""
    if isinstance(id, ValueError):
        return InvalidInput(f"its id is {id}")
    if not id:
        return InvalidInput("it has no id")
    if isinstance(uri, ValueError):
        return InvalidInput(f"its source_uri is {uri}")
    if isinstance(source, ClipserveError):
        return source
    for name, value in payload.items():
        if isinstance(value, ValueError):
            return InvalidPayload(f"field {name!r}: {value}")
    return None


def read_sources(contents: Any, which: Any) -> list[dict[str, Any] | ClipserveError | None]:
    """For each row `{"image": bytes}`, `{"text": str}`, None for no source, or the error."""
    sources: list[dict[str, Any] | ClipserveError | None] = []
    for content, kind in zip(contents.to_pylist(), texts_of(which), strict=True):
        if content is None and kind is None:
            sources.append(None)
        elif content is None or kind not in ("image", "text"):
            sources.append(InvalidInput(f"its source has kind {kind!r}, or has no bytes"))
        elif kind == "image":
            sources.append({"image": content})
        else:
            try:
                sources.append({"text": content.decode()})
            except UnicodeDecodeError:
                sources.append(InvalidInput("its text is not valid UTF-8"))
    return sources
