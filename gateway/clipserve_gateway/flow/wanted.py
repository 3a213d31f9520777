"""Lets work in a thread stop when nobody waits for its result: a thread cannot be stopped from outside."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from clipserve_gateway.flow.deadline import deadline_exceeded


class _Current(threading.local):
    """The condition for the work in this thread."""

    wanted: Callable[[], bool] | None = None


_current = _Current()


@contextlib.contextmanager
def while_wanted(wanted: Callable[[], bool]) -> Iterator[None]:
    """Work of this thread inside the block is wanted while `wanted()` is true. Must not be nested."""
    _current.wanted = wanted
    try:
        yield
    finally:
        _current.wanted = None


def check_wanted(stage: str) -> None:
    """Raises DeadlineExceeded if nobody waits for the work in this thread any more."""
    if _current.wanted is not None and not _current.wanted():
        raise deadline_exceeded(stage)
