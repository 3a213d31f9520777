"""What a request did and how long each stage took, for its trailers, its log line and the metrics."""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Record:
    """One request: seconds by stage (summed over parallel parts), countable facts such as items, and notes.

    Notes are for the log line alone.
    """

    request_id: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    under_way: list[str] = field(default_factory=list)
    """Stages that have begun and not ended well, in the order they began."""
    received: int = 0
    """Bytes of messages that nobody has paid for yet."""
    work: float = 0.0
    """Work beyond the items that requests name, counted in items, that nobody has paid for yet."""

    def trailer(self) -> str:
        """`decode;dur=1.52, cache_hit;n=1`: milliseconds, in the manner of HTTP's Server-Timing."""
        parts = [f"{name};dur={seconds * 1000:.2f}" for name, seconds in self.seconds.items()]
        return ", ".join(parts + [f"{name};n={count}" for name, count in self.facts.items()])


_record: contextvars.ContextVar[Record | None] = contextvars.ContextVar("record", default=None)
_arrival: contextvars.ContextVar[float | None] = contextvars.ContextVar("arrival", default=None)


def note_arrival(moment: float) -> None:
    """A call arrived then, on the clock of time.perf_counter; tasks that are made from here on serve it."""
    _arrival.set(moment)


def arrival() -> float:
    """When the call being served arrived, on the clock of time.perf_counter; now where that is not known."""
    known = _arrival.get()
    return time.perf_counter() if known is None else known


@contextlib.contextmanager
def recording() -> Iterator[Record]:
    """Collects what the request that runs inside does."""
    record = Record()
    before = _record.get()
    _record.set(record)
    try:
        yield record
    finally:
        # Not by a token: a stream that is dropped is closed in another context than it was begun in.
        _record.set(before)


def current() -> Record | None:
    """Of the request being served, if one is."""
    return _record.get()


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Adds the time spent inside to the stage `name` of the request being served, if one is."""
    record = _record.get()
    if record is None:
        yield
        return
    start = time.perf_counter()
    record.under_way.append(name)
    try:
        yield
        record.under_way.remove(name)
    finally:
        record.seconds[name] = record.seconds.get(name, 0.0) + time.perf_counter() - start


def count(name: str, number: int) -> None:
    """Adds to a fact of the request being served, if one is."""
    record = _record.get()
    if record is not None:
        record.facts[name] = record.facts.get(name, 0) + number


def note(name: str, text: str) -> None:
    """Puts a word into the log line of the request being served, if one is."""
    record = _record.get()
    if record is not None:
        record.notes[name] = text


def add_received(size: int) -> None:
    """Adds the bytes of a message to the request being served, if one is."""
    record = _record.get()
    if record is not None:
        record.received += size


def take_received() -> int:
    """The bytes that were added since this was asked last."""
    record = _record.get()
    if record is None:
        return 0
    found, record.received = record.received, 0
    return found


def add_work(items: float) -> None:
    """Adds work to the request being served, if one is: what it costs beyond the items that it names."""
    record = _record.get()
    if record is not None:
        record.work += items


def take_work() -> float:
    """The work that was added since this was asked last."""
    record = _record.get()
    if record is None:
        return 0.0
    found, record.work = record.work, 0.0
    return found
