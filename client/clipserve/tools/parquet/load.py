"""One run over a file: its points go into a collection, and every row is accounted for."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping

from clipserve.client import Client
from clipserve.errors import (
    ClipserveError,
    DimensionMismatch,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    PermissionDenied,
    StorageFailed,
    Unauthenticated,
)
from clipserve.jobs.pace import Pace
from clipserve.tools.parquet.read import PointFile, Row
from clipserve.types import Point

ROWS = 1_024
ROWS_WITH_SOURCES = 16
"""Rows that are read at a time: pictures are large."""


class LoadRun:
    """Writes a file's points into a collection.

    Attributes:
        written: points that are on disk.
        skipped: points that were there already.
        with_source: points that were written with what they were made of.
        failures: id (or row), and why, of those that failed.
        done: rows that are accounted for so far.
        seconds: how long it took.
    """

    def __init__(
        self,
        client: Client,
        collection: str,
        file: PointFile,
        schema: Mapping[str, str],
        *,
        fingerprint: str,
        skip_existing: bool = False,
        from_sources: bool = False,
        keep_sources: bool = False,
        may_lose_sources: bool = False,
        progress: Callable[[int], None],
    ) -> None:
        """A run that has not begun.

        Args:
            schema: the payload fields to write.
            from_sources: embed anew, from the sources in the file.
            keep_sources: the collection keeps sources: write those of the file.
            may_lose_sources: replace points that have a source by rows that have none.
            progress: is called with `done`.
        """
        self.written = 0
        self.skipped = 0
        self.with_source = 0
        self.failures: list[tuple[str, ClipserveError]] = []
        self.done = 0
        self.seconds = 0.0
        self._client = client
        self._collection = collection
        self._file = file
        self._schema = dict(schema)
        self._fingerprint = fingerprint
        self._skip_existing = skip_existing
        self._from_sources = from_sources
        self._with_sources = from_sources or (keep_sources and file.columns.source is not None)
        self._guards_sources = keep_sources and not may_lose_sources
        self._rows_of: dict[str, int] = {}
        """The first row of each id."""
        self._progress = progress
        # To embed takes long: a batch that is large would show nothing, and be under way after a stop.
        self._pace = Pace(ROWS_WITH_SOURCES) if from_sources else None
        self._sent: deque[tuple[list[Point], float]] = deque()
        """Batches under way, and when they were sent."""

    def run(self) -> None:
        """Does it all. Raises ClipserveError or FileError; what it has written stays."""
        start = time.perf_counter()
        with contextlib.closing(self._batches()) as batches:
            results = self._client.upsert_stream(
                self._collection, batches, fingerprint=self._fingerprint, on_error="return"
            )
            for result in results:
                points, since = self._sent.popleft()
                if self._pace is not None:
                    self._pace.record(len(points), time.perf_counter() - since)
                self.written += result.written
                for position, error in result.errors.items():
                    if concerns_all(error):
                        raise error
                    self.failures.append((points[position].id, error))
                self.with_source += sum(
                    has_source(point) for i, point in enumerate(points) if i not in result.errors
                )
                self._settle(len(points))
        self.seconds = time.perf_counter() - start

    def _batches(self) -> Generator[list[Point], None, None]:
        """Batches of points to write, as the client asks for them."""
        size = ROWS_WITH_SOURCES if self._with_sources else ROWS
        for rows in self._file.batches(
            size,
            self._schema,
            with_embeddings=not self._from_sources,
            with_sources=self._with_sources,
        ):
            points = self._wanted(rows)
            while points:
                count = len(points) if self._pace is None else self._pace.items
                self._sent.append((points[:count], time.perf_counter()))
                yield points[:count]
                points = points[count:]

    def _wanted(self, rows: list[Row]) -> list[Point]:
        """The points to write; the other rows are accounted for here."""
        points = []
        for row in rows:
            if row.point is None:
                self.failures.append((row.name, row.error or InvalidInput("it is no point")))
                continue
            first = self._rows_of.setdefault(row.point.id, row.number)
            if first == row.number:
                points.append(row.point)
            else:
                why = f"row {row.number:,} is left out: row {first:,} of the file has this id"
                self.failures.append((row.name, InvalidInput(why)))
        count = len(points)
        if self._skip_existing and points:
            known = {it.id for it in self._client.get_points(self._collection, [p.id for p in points])}
            points = [point for point in points if point.id not in known]
        self.skipped += count - len(points)
        if self._guards_sources:
            points = self._without_losses(points)
        self._settle(len(rows) - len(points))
        return points

    def _without_losses(self, points: list[Point]) -> list[Point]:
        """The points but for those that would replace one with a source by one without."""
        bare = [point.id for point in points if not has_source(point)]
        losing: set[str] = set()
        for first in range(0, len(bare), ROWS_WITH_SOURCES):
            some = bare[first : first + ROWS_WITH_SOURCES]
            stored = self._client.get_points(self._collection, some, with_sources=True)
            losing |= {it.id for it in stored if it.image is not None or it.text is not None}
        why = "it has a source in the collection and none in the file (--without-sources loses it)"
        self.failures += [(point.id, InvalidInput(why)) for point in points if point.id in losing]
        return [point for point in points if point.id not in losing]

    def _settle(self, count: int) -> None:
        if count:
            self.done += count
            self._progress(self.done)


def has_source(point: Point) -> bool:
    """Whether the point has what it was made of."""
    return point.image is not None or point.text is not None


def concerns_all(error: ClipserveError) -> bool:
    """Whether no other point of the file would fare better."""
    whole = (FailedPrecondition, NotFound, PermissionDenied, StorageFailed, Unauthenticated)
    return isinstance(error, whole) and not isinstance(error, DimensionMismatch)
