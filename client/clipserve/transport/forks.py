"""Makes forks safe: gRPC works in a child only if no thread was in a call when the process was forked.

A fork waits up to FORK_SECONDS for running calls to end, and new calls wait until the fork is done. If calls
last longer, as open streams do, the child has copies of gRPC's locks and queues in an undefined state. Using
gRPC in the child could then abort or hang, even with a new channel, so the child refuses it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

from clipserve.errors import ClientNotUsable

FORK_SECONDS = 5.0
"""How long a fork waits for calls. gRPC's own fork support waits as long."""
POLL_SECONDS = 0.002
FORK_SUPPORT = "GRPC_ENABLE_FORK_SUPPORT"
FALSE_VALUES = ("0", "false", "no", "off")
"""With one of these values, gRPC works in no child of a process that has used gRPC."""

# Sets of thread ids. They need no lock; another thread could hold a lock during a fork.
_in_call: set[int] = set()
_in_stream: set[int] = set()
_forking: set[int] = set()
_broken = False
"""Whether this process was forked while a thread was in a call."""
_has_channel = False
"""Whether this process has opened a channel."""


def before_channel() -> None:
    """Call this before opening a channel. Raises ClientNotUsable like check."""
    global _has_channel
    check()
    _has_channel = True


def is_broken() -> bool:
    """Whether gRPC cannot be used in this process."""
    return _broken


def check() -> None:
    """Raises ClientNotUsable if gRPC cannot be used in this process."""
    if _broken:
        raise ClientNotUsable(
            "gRPC cannot be used in this process: it was forked from a process that was in a call, or that "
            f"disables gRPC's fork support ({FORK_SUPPORT}); fork before the first call, or start processes "
            'with multiprocessing\'s "spawn" or "forkserver" method',
            reason="CLIENT_FORKED",
        )


@contextlib.contextmanager
def in_call() -> Iterator[None]:
    """Marks the thread as using gRPC, after forks of other threads. Raises ClientNotUsable."""
    check()
    thread = threading.get_ident()
    _in_call.add(thread)
    while _forking - {thread}:
        _in_call.discard(thread)
        time.sleep(POLL_SECONDS)
        _in_call.add(thread)
    try:
        yield
    finally:
        _in_call.discard(thread)


@contextlib.contextmanager
def in_stream() -> Iterator[None]:
    """Like in_call, for an open stream. Forks do not wait for streams."""
    thread = threading.get_ident()
    _in_stream.add(thread)
    try:
        with in_call():
            yield
    finally:
        _in_stream.discard(thread)


def _before() -> None:
    """Waits for calls of other threads. Does not wait if a stream is open or this thread is in a call."""
    thread = threading.get_ident()
    _forking.add(thread)
    end = time.monotonic() + FORK_SECONDS
    while _in_call and not _in_stream and thread not in _in_call and time.monotonic() < end:
        time.sleep(POLL_SECONDS)


def _after_in_parent() -> None:
    _forking.discard(threading.get_ident())


def _after_in_child() -> None:
    global _broken
    unsupported = _has_channel and os.environ.get(FORK_SUPPORT, "").lower() in FALSE_VALUES
    _broken = _broken or unsupported or bool(_in_call)
    _in_call.clear()
    _in_stream.clear()
    _forking.clear()


if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
