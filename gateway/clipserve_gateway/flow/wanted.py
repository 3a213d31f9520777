"""Whether anybody still waits for the work that a thread does. A thread cannot be stopped; work can ask."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from clipserve_gateway.flow.deadline import deadline_exceeded


class _Current(threading.local):
    """The question of the work under way in this thread."""

    wanted: Callable[[], bool] | None = None


_current = _Current()


@contextlib.contextmanager
def while_wanted(wanted: Callable[[], bool]) -> Iterator[None]:
    """What runs inside, in this thread, is wanted as long as `wanted()` says so. Not for nesting."""
    _current.wanted = wanted
    try:
        yield
    finally:
        _current.wanted = None


def check_wanted(stage: str) -> None:
    """DeadlineExceeded where nobody waits any more for the work under way in this thread."""
    if _current.wanted is not None and not _current.wanted():
        raise deadline_exceeded(stage)
