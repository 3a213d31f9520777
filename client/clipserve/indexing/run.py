"""One run over a folder: points go out as files are read, and every file is accounted for."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence

from clipserve.client import Client
from clipserve.errors import ClipserveError, Conflict
from clipserve.indexing.facts import Picture
from clipserve.indexing.reading import Candidate, Reader, State, look_up
from clipserve.types import Point


class IndexRun:
    """Writes what is new or changed below a folder into a collection.

    Attributes:
        counts: pictures by state: new, changed, unchanged, failed. New and changed ones are counted when the
            run is over.
        failures: name below the root, and why, of pictures that failed.
        moved: points that were of another root before.
        done: pictures that are accounted for so far.
        seconds: how long it took.
    """

    def __init__(
        self,
        client: Client,
        collection: str,
        pictures: Sequence[Picture],
        reader: Reader,
        *,
        known: bool,
        replace: bool = False,
        progress: Callable[[int], None],
    ) -> None:
        """A run that has not begun.

        Args:
            known: False for a collection without points.
            replace: overwrite points of other folders, whatever their content.
            progress: is called with `done`.
        """
        self.counts: Counter[State] = Counter()
        self.failures: list[tuple[str, ClipserveError]] = []
        self.moved = 0
        self.done = 0
        self.seconds = 0.0
        self._client = client
        self._collection = collection
        self._pictures = pictures
        self._reader = reader
        self._known = known
        self._replace = replace
        self._progress = progress
        self._sent: list[tuple[Picture, State]] = []
        self._settled = 0

    def run(self) -> None:
        """Does it all. Raises ClipserveError where the server cannot go on; what it has written stays."""
        start = time.perf_counter()
        with contextlib.closing(self._points()) as points:
            result = self._client.upsert(
                self._collection, points, on_error="return", progress=self._note_answers
            )
        for position, (picture, state) in enumerate(self._sent):
            error = result.errors.get(position)
            if error is None:
                self.counts[state] += 1
            else:
                self._fail(picture, error)
        self.failures.sort(key=lambda failure: failure[0])
        self.seconds = time.perf_counter() - start

    def _candidates(self) -> Iterator[Candidate]:
        if self._known:
            return look_up(self._client, self._collection, self._pictures)
        return (Candidate(picture, None) for picture in self._pictures)

    def _points(self) -> Generator[Point, None, None]:
        """What is to be written, as the client asks for it."""
        with contextlib.closing(self._reader.read_all(self._candidates())) as readings:
            for reading in readings:
                picture = reading.picture
                if reading.error is not None:
                    self._fail(picture, reading.error)
                    self._settle()
                elif reading.replaces_other and not self._replace:
                    # Written since the folder was compared with the collection.
                    self._fail(picture, Conflict(f"a point of another folder has the id {picture.id!r}"))
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
                    )

    def _fail(self, picture: Picture, error: ClipserveError) -> None:
        self.counts["failed"] += 1
        self.failures.append((picture.name, error))

    def _settle(self) -> None:
        """One more picture needs nothing from the server."""
        self._settled += 1
        self.done += 1
        self._progress(self.done)

    def _note_answers(self, answered: int) -> None:
        self.done = self._settled + answered
        self._progress(self.done)
