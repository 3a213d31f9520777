"""One run over a file: writes its points into a collection and counts every row."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import KW_ONLY, dataclass, field

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
"""Rows to read at a time if they have sources, which may be large."""


@dataclass(eq=False)
class LoadRun:
    """Writes a file's points into a collection."""

    client: Client
    collection: str
    file: PointFile
    schema: dict[str, str]
    """The payload fields to write."""
    _: KW_ONLY
    progress: Callable[[int], None]
    """Called with `done`."""
    fingerprint: str
    skip_existing: bool = False
    from_sources: bool = False
    """Embed the sources in the file again."""
    keep_sources: bool = False
    """The collection keeps sources, so write those of the file."""
    may_lose_sources: bool = False
    """Overwrite points with a source by rows without one."""
    written: int = 0
    """Points that the server has stored."""
    skipped: int = 0
    """Points that existed already."""
    with_source: int = 0
    """Points that were written with their source."""
    failures: list[tuple[str, ClipserveError]] = field(default_factory=list)
    """Id (or row) and error of rows that failed."""
    done: int = 0
    """Rows that are finished so far."""
    seconds: float = 0.0
    """Duration of the run."""

    def __post_init__(self) -> None:
        self._with_sources = self.from_sources or (self.keep_sources and self.file.columns.source is not None)
        self._rows_of: dict[str, int] = {}
        """The first row of each id."""
        # Embedding is slow: large batches would show no progress and continue long after Ctrl-C.
        self._pace = Pace(ROWS_WITH_SOURCES) if self.from_sources else None
        self._sent: deque[tuple[list[Point], float]] = deque()
        """Batches without an answer yet, and when they were sent."""

    def run(self) -> None:
        """Runs to the end. Raises ClipserveError or FileError; written points stay."""
        start = time.perf_counter()
        with contextlib.closing(self._batches()) as batches:
            results = self.client.upsert_stream(
                self.collection, batches, fingerprint=self.fingerprint, on_error="return"
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
        size = ROWS_WITH_SOURCES if self._with_sources else ROWS
        for rows in self.file.batches(
            size,
            self.schema,
            with_embeddings=not self.from_sources,
            with_sources=self._with_sources,
        ):
            points = self._wanted(rows)
            while points:
                count = len(points) if self._pace is None else self._pace.items
                self._sent.append((points[:count], time.perf_counter()))
                yield points[:count]
                points = points[count:]

    def _wanted(self, rows: list[Row]) -> list[Point]:
        """The points to write; counts the other rows."""
        points = []
        for row in rows:
            if row.point is None:
                self.failures.append((row.name, row.error or InvalidInput("not a point")))
                continue
            first = self._rows_of.setdefault(row.point.id, row.number)
            if first == row.number:
                points.append(row.point)
            else:
                why = f"row {row.number:,} is not written, as row {first:,} has the same id"
                self.failures.append((row.name, InvalidInput(why)))
        count = len(points)
        if self.skip_existing and points:
            known = {stored.id for stored in self.client.get_points(self.collection, [p.id for p in points])}
            points = [point for point in points if point.id not in known]
        self.skipped += count - len(points)
        if self.keep_sources and not self.may_lose_sources:
            points = self._without_losses(points)
        self._settle(len(rows) - len(points))
        return points

    def _without_losses(self, points: list[Point]) -> list[Point]:
        """The points except those that would overwrite a source with none; these fail."""
        bare = [point.id for point in points if not has_source(point)]
        losing: set[str] = set()
        for first in range(0, len(bare), ROWS_WITH_SOURCES):
            some = bare[first : first + ROWS_WITH_SOURCES]
            stored = self.client.get_points(self.collection, some, with_sources=True)
            losing |= {old.id for old in stored if old.image is not None or old.text is not None}
        why = "it has a source in the collection but none in the file (--without-sources drops it)"
        self.failures += [(point.id, InvalidInput(why)) for point in points if point.id in losing]
        return [point for point in points if point.id not in losing]

    def _settle(self, count: int) -> None:
        if count:
            self.done += count
            self.progress(self.done)


def has_source(point: Point) -> bool:
    return point.image is not None or point.text is not None


def concerns_all(error: ClipserveError) -> bool:
    """Whether the error would hit every other point too."""
    whole = (FailedPrecondition, NotFound, PermissionDenied, StorageFailed, Unauthenticated)
    return isinstance(error, whole) and not isinstance(error, DimensionMismatch)
