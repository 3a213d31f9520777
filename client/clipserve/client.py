"""The client."""

from __future__ import annotations

import warnings
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

    It can be used after a fork, unless the process was forked while a thread was in a call: then every call
    of the child raises ClientNotUsable. Start such children with multiprocessing's "spawn" method.

    Args:
        target: `HOST[:PORT]`, or a gRPC URI such as `dns:///gateway:8600` or `unix:/run/clipserve.sock`. If a
            host name has several addresses, calls are distributed over them.
        timeout: seconds for one request, including its retries. A long list is sent as several requests, and
            each one has this time. None: 60 s, plus time for large requests (0.5 s per image, 10 ms per
            prompt), since the server may have to encode the labels first.
        token: bearer token, or a function that returns the current one, such as a `TokenFile`. The client
            warns if the token leaves this machine without TLS.
        tls: True for TLS with the system's certificate authorities, or a `Tls` with other settings.
        retry: when to retry; None disables retries.
        batch_size: maximum number of images or texts per request. The server's limit may be lower.
        in_flight: number of concurrent requests of one call.
        priority: ``"interactive"`` if a person waits for the answer, ``"bulk"`` for jobs. A busy server
            gives most of its capacity to interactive calls.

    Every method raises ClipserveError or one of its subclasses for errors of the server, the network or a
    file, and TypeError or ValueError for invalid arguments.

    Methods with `on_error` process all items even if some fail. With ``"raise"`` (the default) they then
    raise BatchError; its `result` has the successful items. With ``"return"`` they return the result; its
    `errors` has the failed items. `progress` is called with the number of items that are done. Requests then
    begin with one item and grow until they take half a second or have `batch_size` items, so that `progress`
    is called often and few requests are in flight when the caller stops.
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
            bearer(token)  # raises ValueError now for a token that cannot be sent
        if token and security is None and not is_local(uri):
            warnings.warn(f"the token is sent to {target} without encryption; use TLS", stacklevel=2)
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

    def __exit__(self, *error: object) -> None:
        self.close()
