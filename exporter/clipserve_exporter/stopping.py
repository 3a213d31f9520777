"""Handles SIGTERM and SIGHUP, so that an export that is stopped removes its files."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

STOPS = (signal.SIGTERM, signal.SIGHUP)


def stop(number: int, frame: FrameType | None) -> None:
    """Ends the process through all `finally` blocks, which a second signal does not interrupt."""
    for other in STOPS:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


@contextlib.contextmanager
def handling(numbers: Sequence[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handles these signals while the block runs in the main thread; other threads cannot."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def stoppable() -> contextlib.AbstractContextManager[None]:
    """While the block runs, STOPS raise SystemExit in the main thread."""
    return handling(STOPS, stop)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delays STOPS and Ctrl-C until the block has ended. The block must be short."""
    came: list[int] = []
    try:
        with handling((*STOPS, signal.SIGINT), lambda number, frame: came.append(number)):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])
