"""One run over a folder: writes points while files are read, and counts every file."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import islice

from clipserve.client import Client
from clipserve.errors import ClipserveError, Conflict, PointExists
from clipserve.tools.indexing.facts import Picture
from clipserve.tools.indexing.origin import origin_of
from clipserve.tools.indexing.reading import LOOKUP_BATCH, Candidate, Reader, State, look_up
from clipserve.types import Point


@dataclass(eq=False)
class IndexRun:
    """Writes what is new or changed below a folder into a collection."""

    client: Client
    collection: str
    pictures: Sequence[Picture]
    reader: Reader
    _: KW_ONLY
    progress: Callable[[int], None]
    """Called with `done`."""
    known: bool
    """Whether the collection has points."""
    replace: bool = False
    """Overwrite points of other folders, whatever their content."""
    insert_only: bool = False
    """Whether the server can insert a point only if its id is free, so that two concurrent runs do not
    overwrite each other's points."""
    counts: Counter[State] = field(default_factory=Counter)
    """Pictures by state: new, changed, unchanged, failed. New and changed ones are counted at the end."""
    failures: list[tuple[str, ClipserveError]] = field(default_factory=list)
    """Name below the root and error of pictures that failed."""
    moved: int = 0
    """Points that had another root before."""
    done: int = 0
    """Pictures that are finished so far."""
    seconds: float = 0.0
    """Duration of the run."""
    _sent: list[tuple[Picture, State]] = field(default_factory=list)
    _settled: int = 0

    def run(self) -> None:
        """Runs to the end. Raises ClipserveError if the server fails; written points stay."""
        start = time.perf_counter()
        with contextlib.closing(self._points()) as points:
            result = self.client.upsert(
                self.collection, points, on_error="return", progress=self._note_answers
            )
        taken: list[tuple[Picture, State]] = []
        for position, (picture, state) in enumerate(self._sent):
            error = result.errors.get(position)
            if error is None:
                self.counts[state] += 1
            elif isinstance(error, PointExists):
                taken.append((picture, state))
            else:
                self._fail(picture, error)
        self._settle_taken(taken)
        self.failures.sort(key=lambda failure: failure[0])
        self.seconds = time.perf_counter() - start

    def _candidates(self) -> Iterator[Candidate]:
        if self.known:
            return look_up(self.client, self.collection, self.pictures)
        return (Candidate(picture, None) for picture in self.pictures)

    def _points(self) -> Generator[Point, None, None]:
        """The points to write, made as the client requests them."""
        with contextlib.closing(self.reader.read_all(self._candidates())) as readings:
            for reading in readings:
                picture = reading.picture
                if reading.error is not None:
                    self._fail(picture, reading.error)
                    self._settle()
                elif reading.replaces_other and not self.replace:
                    # The point was written after the folder was compared with the collection.
                    self._fail(picture, of_another(picture))
                    self._settle()
                elif reading.state == "unchanged":
                    self.counts["unchanged"] += 1
                    self._settle()
                else:
                    self._sent.append((picture, reading.state))
                    self.moved += reading.was_elsewhere
                    yield Point(
                        picture.id,
                        image=reading.content,
                        payload=reading.payload,
                        source_uri=picture.uri,
                        must_be_new=self.insert_only and not self.replace and reading.state == "new",
                    )

    def _settle_taken(self, taken: Sequence[tuple[Picture, State]]) -> None:
        """Counts points of this folder, from a retried call or a concurrent run; the others fail."""
        left = iter(taken)
        while some := list(islice(left, LOOKUP_BATCH)):
            points = self.client.get_points(self.collection, [picture.id for picture, _ in some])
            stored = {point.id: point for point in points}
            for picture, state in some:
                if picture.id in stored and origin_of(picture, stored[picture.id]) == "own":
                    self.counts[state] += 1
                else:
                    self._fail(picture, of_another(picture))

    def _fail(self, picture: Picture, error: ClipserveError) -> None:
        self.counts["failed"] += 1
        self.failures.append((picture.name, error))

    def _settle(self) -> None:
        """Counts a picture that needs no request."""
        self._settled += 1
        self.done += 1
        self.progress(self.done)

    def _note_answers(self, answered: int) -> None:
        self.done = self._settled + answered
        self.progress(self.done)


def of_another(picture: Picture) -> Conflict:
    return Conflict(
        f"a point of another folder has the id {picture.id!r}; give the ids of this folder a prefix with "
        "--prefix NAME/, or overwrite those points with --replace"
    )
