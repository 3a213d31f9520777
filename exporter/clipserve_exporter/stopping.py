"""Handles SIGTERM and SIGHUP, so that an export that is stopped removes its files."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STOPS = (signal.SIGTERM, signal.SIGHUP)


def stop(number: int, frame: FrameType | None) -> None:
    """Ends the process through all `finally` blocks, which a second signal does not interrupt."""
    for other in STOPS:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """While the block runs, STOPS raise SystemExit in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delays STOPS and Ctrl-C until the block has ended. The block must be short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (*STOPS, signal.SIGINT)
    before = {number: signal.signal(number, lambda got, frame: came.append(got)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
