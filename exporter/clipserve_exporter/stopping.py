"""SIGTERM and its like: an export that is stopped clears away what it has begun."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STOPS = (signal.SIGTERM, signal.SIGHUP)


def stop(number: int, frame: FrameType | None) -> None:
    """Ends the process by way of all `finally` blocks. A second signal does not cut those short."""
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
    """Puts off STOPS and Ctrl-C until the block has ended: it is short, and half of it must not be done."""
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
