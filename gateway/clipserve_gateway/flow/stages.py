"""Facts and stage times of a request, for its trailers, its log line and the metrics."""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Record:
    """The facts of one request: seconds by stage (summed over parallel parts), counts, and notes.

    Notes appear only in the log line.
    """

    request_id: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    under_way: list[str] = field(default_factory=list)
    """Stages that began and did not end successfully, in order."""
    received: int = 0
    """Bytes of messages that are not charged yet."""
    work: float = 0.0
    """Work besides the items of the request, in items, that is not charged yet."""

    def trailer(self) -> str:
        """Returns `decode;dur=1.52, cache_hit;n=1`: milliseconds, like HTTP's Server-Timing."""
        parts = [f"{name};dur={seconds * 1000:.2f}" for name, seconds in self.seconds.items()]
        return ", ".join(parts + [f"{name};n={count}" for name, count in self.facts.items()])


_record: contextvars.ContextVar[Record | None] = contextvars.ContextVar("record", default=None)
_arrival: contextvars.ContextVar[float | None] = contextvars.ContextVar("arrival", default=None)


def note_arrival(moment: float) -> None:
    """Stores when the current call arrived, on the clock of time.perf_counter, for later tasks."""
    _arrival.set(moment)


def arrival() -> float:
    """Returns when the current call arrived, on the clock of time.perf_counter; now if it is unknown."""
    moment = _arrival.get()
    return time.perf_counter() if moment is None else moment


@contextlib.contextmanager
def recording() -> Iterator[Record]:
    """Records the facts of the request that runs in the block."""
    record = Record()
    before = _record.get()
    _record.set(record)
    try:
        yield record
    finally:
        # Without a token, since a dropped stream is closed in another context than it was begun in.
        _record.set(before)


def current() -> Record | None:
    """Returns the record of the current request, if there is one."""
    return _record.get()


def _writable() -> Record:
    """Returns the record of the current request; without a request, one that nobody reads."""
    return _record.get() or Record()


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Adds the time of the block to the stage `name` of the current request, if there is one."""
    record, start = _writable(), time.perf_counter()
    record.under_way.append(name)
    try:
        yield
        record.under_way.remove(name)
    finally:
        record.seconds[name] = record.seconds.get(name, 0.0) + time.perf_counter() - start


def count(name: str, number: int) -> None:
    """Adds to a count of the current request, if there is one."""
    facts = _writable().facts
    facts[name] = facts.get(name, 0) + number


def note(name: str, text: str) -> None:
    """Adds a note to the log line of the current request, if there is one."""
    _writable().notes[name] = text


def add_received(size: int) -> None:
    """Adds the bytes of a message to the current request, if there is one."""
    _writable().received += size


def take_received() -> int:
    """Returns the bytes that were added since the last call."""
    record = _writable()
    received, record.received = record.received, 0
    return received


def add_work(items: float) -> None:
    """Adds work besides the items of the current request, if there is one."""
    _writable().work += items


def take_work() -> float:
    """Returns the work that was added since the last call."""
    record = _writable()
    work, record.work = record.work, 0.0
    return work
