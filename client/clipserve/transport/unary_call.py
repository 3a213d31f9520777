"""A unary call over a sync channel, with retries by the retry policy."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import grpc
from google.protobuf.message import Message

from clipserve.errors import Cancelled, ClientNotUsable, ClipserveError, Unavailable
from clipserve.retry import CallAttempts, RetryBudget, RetryPolicy
from clipserve.token import Metadata, TokenSource, bearer
from clipserve.transport import forks
from clipserve.transport.channel import Tls
from clipserve.transport.proxy import describe_proxy
from clipserve.transport.unreachable import Cause, find_cause
from clipserve.v1 import clip_pb2_grpc, collection_pb2_grpc, labels_pb2_grpc
from clipserve.wire.status import Failure, read_failure

MESSAGE_BYTES = "x-clipserve-bytes"
"""Header with the size of the call's message."""
LARGE_BYTES = 1 << 20
NO_CONNECTION = re.compile(r"last error: |errors resolving ")
"""Part of gRPC's message if it cannot connect."""
CAUSE_SECONDS = 10.0
"""How long a cause is cached while gRPC reports the same message."""

Priority = Literal["interactive", "bulk"]


class Scope:
    """A group of calls. Leaving the scope cancels its running calls and waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[grpc.Future] = set()
        self._cancelled = threading.Event()

    def __enter__(self) -> Scope:
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Cancels all calls and waits, and refuses new calls."""
        with self._lock:
            self._cancelled.set()
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    def call(self, start: Callable[[], grpc.Future]) -> Any:
        """Starts a call and waits for its answer. Raises grpc.RpcError or Cancelled."""
        with self._lock:
            self.check()
            future = start()
            self._calls.add(future)
        try:
            return future.result()
        except grpc.FutureCancelledError:
            raise Cancelled("the call was cancelled") from None
        finally:
            with self._lock:
                self._calls.discard(future)

    def wait(self, seconds: float) -> None:
        """Waits. Raises Cancelled as soon as the scope is cancelled."""
        self._cancelled.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raises Cancelled if the scope was cancelled."""
        if self._cancelled.is_set():
            raise Cancelled("the call was cancelled")


class Transport:
    """A channel, and what all its calls have in common: token, retries, translated errors. Thread-safe."""

    def __init__(
        self,
        channel: grpc.Channel,
        uri: str,
        token: TokenSource,
        retry: RetryPolicy,
        priority: Priority,
        tls: Tls | None = None,
    ) -> None:
        self.uri = uri
        self._tls = tls
        self._cause: tuple[str, float, Cause | None] = ("", 0.0, None)
        """gRPC's message, when it arrived, and its cause."""
        self.retry = retry
        self.budget = RetryBudget(retry)
        self._channel = channel
        self._token = token
        # Servers treat calls without the header as interactive.
        self._priority: Metadata = () if priority == "interactive" else (("x-clipserve-priority", priority),)
        self._stubs = (
            clip_pb2_grpc.ClipServiceStub(channel),
            collection_pb2_grpc.CollectionServiceStub(channel),
            labels_pb2_grpc.LabelSetServiceStub(channel),
        )
        self._closed = False

    def close(self) -> None:
        """Closes the channel. Running calls end as Cancelled."""
        self._closed = True
        # gRPC may hang in close.
        if not forks.is_broken():
            self._channel.close()

    def check(self) -> None:
        """Raises ClientNotUsable if the client is closed or gRPC cannot be used in this process."""
        forks.check()
        if self._closed:
            raise ClientNotUsable("the client is closed; make a new one")

    def method(self, name: str) -> Any:
        """The callable of an RPC. Raises ClientNotUsable."""
        self.check()
        return next(getattr(stub, name) for stub in self._stubs if hasattr(stub, name))

    def metadata(self) -> Metadata:
        """Metadata of every call."""
        return self._priority + bearer(self._token)

    def unary(
        self,
        name: str,
        request: Message,
        *,
        timeout: float,
        idempotent: bool = True,
        rebase: Callable[[str], str] = str,
        scope: Scope | None = None,
    ) -> Any:
        """The answer to one request. `timeout` includes all attempts.

        Raises ClipserveError. A call that is not idempotent is retried only if the server did not execute it.
        With `scope`, the call can be cancelled; use that in this package's own threads only: if Ctrl-C, which
        Python handles in the main thread, interrupts the start of a future, gRPC hangs in Channel.close.
        """
        method = self.method(name)
        deadline = time.monotonic() + timeout
        attempts = CallAttempts(self.retry, self.budget, deadline=deadline, idempotent=idempotent)
        message_bytes = request.ByteSize()
        # A server with little memory delays a large message before it is sent, instead of halfway.
        large = ((MESSAGE_BYTES, str(message_bytes)),) if message_bytes > LARGE_BYTES else ()
        while True:
            seconds_left = max(0.0, deadline - time.monotonic())
            metadata = self.metadata() + large
            try:
                with forks.in_call():
                    if scope is None:
                        answer = method(request, timeout=seconds_left, metadata=metadata)
                    else:
                        start = functools.partial(
                            method.future, request, timeout=seconds_left, metadata=metadata
                        )
                        answer = scope.call(start)
                    self.budget.succeeded()
                    return answer
            except ValueError:
                # gRPC raises this if the channel was closed after the check in self.method.
                self.check()
                raise
            except grpc.RpcError as error:
                failure = self.failure(error, rebase, timeout)
                with forks.in_call():
                    delay = attempts.next_delay(failure, time.monotonic())
                if delay is None:
                    raise self.with_cause(failure.error) from error
                if scope is None:
                    time.sleep(delay)
                else:
                    scope.wait(delay)

    def with_cause(self, error: ClipserveError) -> ClipserveError:
        """The same error; after a failed connection, its message gives the cause if one can be found."""
        if isinstance(error, Unavailable) and NO_CONNECTION.search(error.message):
            message, since, cause = self._cause
            if message != error.message or time.monotonic() - since > CAUSE_SECONDS:
                cause = find_cause(self.uri, self._tls)
                self._cause = (error.message, time.monotonic(), cause)
            if cause is not None:
                reword(error, f"cannot reach a server at {describe_target(self.uri)}: {cause.message}")
                error.metadata["cause"] = cause.name
        return error

    def failure(
        self, error: grpc.RpcError, rebase: Callable[[str], str] = str, timeout: float = 0
    ) -> Failure:
        """The failure of an attempt, with fields of the caller's arguments."""
        code = error.code()
        failure = read_failure(
            code.name if code else "UNKNOWN", error.details() or "", error.trailing_metadata() or (), rebase
        )
        if self._closed and failure.error.code == "CANCELLED":
            reword(failure.error, "the client was closed before the answer arrived")
        elif not failure.answered:
            describe_failure(failure.error, self.uri, timeout)
        return failure


def describe_failure(error: ClipserveError, uri: str, timeout: float) -> None:
    """Rewords an error that gRPC itself raised."""
    where = describe_target(uri)
    if error.code == "UNAVAILABLE":
        # gRPC appends the result of a second OpenSSL check, which passed.
        why = error.message.removesuffix(": OK")
        reword(error, f"cannot reach a server at {where}: {why}")
    elif error.code == "DEADLINE_EXCEEDED" and timeout:
        reword(error, f"no answer from {where} within {timeout:g} s")
    elif error.code == "UNIMPLEMENTED":
        reword(error, f"the server at {where} does not know this call: {error.message}")


def reword(error: ClipserveError, message: str) -> None:
    """Replaces an error's message."""
    error.message = message
    error.args = (message,)


def describe_target(uri: str) -> str:
    """A target for messages, with the proxy that gRPC uses for it."""
    where = uri.removeprefix("dns:///")
    proxy = describe_proxy(uri)
    return f"{where} through {proxy}" if proxy else where
