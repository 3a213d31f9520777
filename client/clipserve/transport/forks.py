"""Forks: gRPC works in a child only if no thread was in a call when the process was forked.

So a fork waits for a few seconds until the calls that are under way have ended, and new ones wait until it is
done. Where calls last longer (an open stream does), gRPC's locks and queues are copied in the middle of
their work. Any use of them in the child, also by a new channel, may abort or hang, so it is refused.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

from clipserve.errors import ClientNotUsable

FORK_SECONDS = 5.0
"""How long a fork waits for calls, at most; gRPC's own fork support waits as long."""
LOOK_SECONDS = 0.002
FORK_SUPPORT = "GRPC_ENABLE_FORK_SUPPORT"
OFF = ("0", "false", "no", "off")
"""Values of that variable with which gRPC works in no child of a process that has used it."""

# Sets of threads: their changes need no lock. A lock might be held when the process is forked.
_in_call: set[int] = set()
_in_stream: set[int] = set()
_forking: set[int] = set()
_broken = False
"""Whether this process was forked while a thread was in a call."""
_has_channel = False
"""Whether this process ever opened a channel."""


def opens_channel() -> None:
    """To be called before a channel is opened. Raises as check does."""
    global _has_channel
    check()
    _has_channel = True


def is_broken() -> bool:
    """Whether gRPC does not work in this process."""
    return _broken


def check() -> None:
    """Raises ClientNotUsable in a process where gRPC does not work."""
    if _broken:
        raise ClientNotUsable(
            "gRPC does not work in this process: it was forked from one that was in a call, or that switches "
            f"gRPC's support of forks off ({FORK_SUPPORT}); fork before the calls begin, or start processes "
            'with multiprocessing\'s "spawn" or "forkserver"',
            reason="CLIENT_FORKED",
        )


@contextlib.contextmanager
def in_call() -> Iterator[None]:
    """Around each use of gRPC that lasts. Raises as check does."""
    check()
    thread = threading.get_ident()
    _in_call.add(thread)
    while _forking - {thread}:
        _in_call.discard(thread)
        time.sleep(LOOK_SECONDS)
        _in_call.add(thread)
    try:
        yield
    finally:
        _in_call.discard(thread)


@contextlib.contextmanager
def in_stream() -> Iterator[None]:
    """The same around an open stream, whose end no fork waits for."""
    thread = threading.get_ident()
    _in_stream.add(thread)
    try:
        with in_call():
            yield
    finally:
        _in_stream.discard(thread)


def _before() -> None:
    """Waits for the calls of other threads; not where one will not end: a stream, or one of this thread."""
    thread = threading.get_ident()
    _forking.add(thread)
    end = time.monotonic() + FORK_SECONDS
    while _in_call and not _in_stream and thread not in _in_call and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)


def _after_in_parent() -> None:
    _forking.discard(threading.get_ident())


def _after_in_child() -> None:
    global _broken
    unsupported = _has_channel and os.environ.get(FORK_SUPPORT, "").lower() in OFF
    _broken = _broken or unsupported or bool(_in_call)
    _in_call.clear()
    _in_stream.clear()
    _forking.clear()


if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
