"""Reads and hashes pictures, a few ahead, and compares them with the collection."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable, Iterator, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, TypeAlias

from clipserve.client import Client
from clipserve.errors import ClipserveError, ImageUnreadable
from clipserve.inputs.files import FileTooLarge, read_regular
from clipserve.jobs.pipeline import in_order
from clipserve.tools.indexing.facts import Picture
from clipserve.types import Payload
from clipserve.wire.images import too_large

AHEAD = 6
"""Pictures that are being read or wait to be sent."""
LOOKUP_BATCH = 1_024
"""Points to look up in one request."""

State: TypeAlias = Literal["new", "changed", "unchanged", "failed"]


@dataclass(frozen=True)
class Candidate:
    """A picture and the payload of the point with its id."""

    picture: Picture
    known: Payload | None
    """None if there is no point."""


@dataclass(frozen=True, eq=False)
class Reading:
    """A picture that was read."""

    picture: Picture
    state: State
    content: bytes = b""
    """The bytes of the file, if the point is to be written."""
    payload: Payload = field(default_factory=dict)
    error: ClipserveError | None = None
    """Why it could not be read."""
    was_elsewhere: bool = False
    """Whether the existing point has another root."""
    replaces_other: bool = False
    """Whether the existing point has another root and another content."""


@dataclass(frozen=True)
class Reader:
    """Reads pictures and compares them with their points."""

    fields: Set[str]
    """Payload fields of the collection."""
    max_bytes: int
    """Larger files are not read."""
    trust_times: bool = False
    """Whether files with the stored size and time count as unchanged without being read."""

    def read(self, candidate: Candidate) -> Reading:
        """Reads a picture. An unchanged picture has no content."""
        picture, known = candidate.picture, candidate.known
        try:
            facts, content = self._content(candidate)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return Reading(picture, "failed", error=ImageUnreadable(f"cannot read the file: {why}"))
        except ClipserveError as error:
            return Reading(picture, "failed", error=error)
        payload = picture.payload(facts, content, self.fields)
        if known is not None and (content is None or self._same(known, payload, "content_hash")):
            return Reading(picture, "unchanged")
        moved = known is not None and known.get("root") != payload.get("root")
        state: State = "new" if known is None else "changed"
        same = known is not None and known.get("content_hash") == payload.get("content_hash")
        other = moved and "root" in self.fields and not same
        return Reading(picture, state, content or b"", payload, was_elsewhere=moved, replaces_other=other)

    def _content(self, candidate: Candidate) -> tuple[os.stat_result, bytes | None]:
        """The file's status, and its bytes unless it counts as unchanged."""
        picture = candidate.picture
        facts = picture.path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise ImageUnreadable("not a regular file")
        if self.trust_times and candidate.known is not None:
            payload = picture.payload(facts, None, self.fields)
            if self._same(candidate.known, payload, "bytes", "modified"):
                return facts, None
        try:
            return facts, read_regular(picture.path, self.max_bytes)
        except FileTooLarge as error:
            raise too_large(error.size, self.max_bytes) from error

    def _same(self, known: Payload, payload: Payload, *names: str) -> bool:
        """Whether both payloads have the same root and the same values of these fields."""
        same_place = "root" not in self.fields or known.get("root") == payload["root"]
        return same_place and all(name in payload and known.get(name) == payload[name] for name in names)

    def read_all(self, candidates: Iterator[Candidate]) -> Generator[Reading, None, None]:
        """The readings in order. Close the generator to stop reading."""
        for _, reading in in_order(candidates, self.read, width=AHEAD, cancel=lambda: None):
            yield reading


def look_up(client: Client, collection: str, pictures: Iterable[Picture]) -> Iterator[Candidate]:
    """The pictures with the payloads of their points, looked up in batches."""
    left = iter(pictures)
    while batch := list(islice(left, LOOKUP_BATCH)):
        points = client.get_points(collection, [picture.id for picture in batch])
        known = {point.id: point.payload for point in points}
        for picture in batch:
            yield Candidate(picture, known.get(picture.id))
