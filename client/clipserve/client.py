"""The sync client."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import get_args

from clipserve.calls.clip import ClipCalls
from clipserve.calls.collections import CollectionCalls
from clipserve.calls.labels import LabelSetCalls
from clipserve.calls.migrations import MigrationCalls
from clipserve.calls.points import PointCalls
from clipserve.retry import NO_RETRIES, RetryPolicy
from clipserve.safe_text import quoted
from clipserve.token import TokenSource, bearer
from clipserve.transport.channel import DEFAULT_TARGET, Tls, open_channel, target_uri
from clipserve.transport.proxy import is_local
from clipserve.transport.unary_call import Priority, Transport


class Client(ClipCalls, CollectionCalls, PointCalls, MigrationCalls, LabelSetCalls):
    """A connection to a clipserve gateway. Thread-safe; make one and keep it.

    A forked child may go on using it, unless the process was forked while a thread was in a call: every call
    of the child then raises ClientNotUsable. Start such children with multiprocessing's "spawn".

    Args:
        target: `HOST[:PORT]` (a name is resolved to all its addresses, and calls go to them in turn), or a
            gRPC URI such as `dns:///gateway:8600` or `unix:/run/clipserve.sock`.
        timeout: seconds that one request may take, its retries included. Long lists travel as several
            requests, and each has this time. None: 60 s, and more for large requests (half a second an
            image, 10 ms a prompt), since a label set may have to be encoded first.
        token: bearer token, or a function that returns the current one, such as a `TokenFile`. A warning is
            given where it would leave this machine without TLS.
        tls: True for TLS with the system's authorities, or a `Tls` for others and for client certificates.
        retry: when to try again; None never does.
        batch_size: images or texts in one request, at most; servers may publish a lower limit.
        in_flight: requests of one call that are under way at a time.
        priority: ``"interactive"`` where somebody waits for the answer, ``"bulk"`` for jobs, which then leave
            interactive callers most of a busy server.

    Every method raises ClipserveError or one of its subclasses for what the server, the network or a file
    did, and TypeError or ValueError for arguments that cannot be meant.

    Methods that take lists have `on_error`: with ``"raise"`` (the default) they raise BatchError if some
    items failed, after all others were answered, and the exception's `result` holds those; with ``"return"``
    they return the result, whose `errors` says what failed. `progress` is called with the number of items
    answered so far; requests then begin with one item and grow to what takes half a second, up to
    `batch_size`, so that it is called soon and a stop leaves little under way.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float | None = None,
        token: TokenSource = None,
        tls: Tls | bool = False,
        retry: RetryPolicy | None = RetryPolicy(),  # noqa: B008  (frozen)
        batch_size: int = 64,
        in_flight: int = 4,
        priority: Priority = "interactive",
    ) -> None:
        if batch_size < 1 or in_flight < 1:
            raise ValueError("batch_size and in_flight must be at least 1")
        if priority not in get_args(Priority):
            raise ValueError(
                f"priority is {quoted(priority)}; it must be one of {', '.join(get_args(Priority))}"
            )
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout is {timeout}; it must be above 0 seconds")
        security = Tls() if tls is True else tls or None
        uri = target_uri(target)
        if isinstance(token, str):
            bearer(token)  # one that cannot be sent is refused now
        if token and security is None and not is_local(uri):
            warnings.warn(f"the token travels to {target} in the clear; use TLS", stacklevel=2)
        self.target = target
        transport = Transport(
            open_channel(uri, security), uri, token, retry or NO_RETRIES, priority, security
        )
        super().__init__(transport, timeout=timeout, batch_size=batch_size, in_flight=in_flight)

    def close(self) -> None:
        """Closes the connection; later calls raise ClientNotUsable."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
