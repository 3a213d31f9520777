"""One call over a sync channel, tried again as the retry policy says."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

import grpc
from google.protobuf.message import Message

from clipserve.errors import Cancelled, ClientNotUsable, ClipserveError, Unavailable
from clipserve.retry import CallAttempts, RetryBudget, RetryPolicy
from clipserve.token import Metadata, TokenSource, bearer
from clipserve.transport import forks
from clipserve.transport.channel import Tls
from clipserve.transport.proxy import proxy_for
from clipserve.transport.unreachable import Cause, cause_of
from clipserve.v1 import clip_pb2_grpc, collection_pb2_grpc, labels_pb2_grpc
from clipserve.wire.status import Failure, read_failure

EXPECTED = "x-clipserve-bytes"
"""Header that tells how large the call's message is."""
LARGE_BYTES = 1 << 20
NO_CONNECTION = re.compile(r"last error: |errors resolving ")
"""In what gRPC says when no connection comes about."""
CAUSE_SECONDS = 10.0
"""How long the cause that was found is believed, while gRPC says the same."""

Priority = Literal["interactive", "bulk"]


class Scope:
    """Calls that belong together: leaving it cancels those that are still under way, and their waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[grpc.Future] = set()
        self._cancelled = threading.Event()

    def __enter__(self) -> Scope:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Ends all calls and waits, and lets no new ones begin."""
        with self._lock:
            self._cancelled.set()
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    def answer(self, start: Callable[[], grpc.Future]) -> Any:
        """Starts a call and waits for its answer; raises grpc.RpcError, or Cancelled."""
        with self._lock:
            self.check()
            call = start()
            self._calls.add(call)
        try:
            return call.result()
        except grpc.FutureCancelledError:
            raise Cancelled("the call was cancelled") from None
        finally:
            with self._lock:
                self._calls.discard(call)

    def wait(self, seconds: float) -> None:
        """Waits; raises Cancelled as soon as the scope is left."""
        self._cancelled.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raises Cancelled once the scope has been left."""
        if self._cancelled.is_set():
            raise Cancelled("the call was cancelled")


class Transport:
    """A channel and what every call over it has: token, retries, translated errors. Thread-safe."""

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
        """What gRPC said, when, and what it was found to mean."""
        self.retry = retry
        self.budget = RetryBudget(retry)
        self._channel = channel
        self._token = token
        # Interactive is what a server takes a call for that says nothing.
        self._lane: Metadata = () if priority == "interactive" else (("x-clipserve-priority", priority),)
        self._stubs = (
            clip_pb2_grpc.ClipServiceStub(channel),
            collection_pb2_grpc.CollectionServiceStub(channel),
            labels_pb2_grpc.LabelSetServiceStub(channel),
        )
        self._closed = False

    def close(self) -> None:
        """Closes the channel; calls that are under way end as Cancelled."""
        self._closed = True
        # gRPC may hang there.
        if not forks.is_broken():
            self._channel.close()

    def check(self) -> None:
        """Raises ClientNotUsable where no call can be made."""
        forks.check()
        if self._closed:
            raise ClientNotUsable("the client is closed; make a new one")

    def method(self, name: str) -> Any:
        """The callable of an RPC. Raises as check does."""
        self.check()
        return next(getattr(stub, name) for stub in self._stubs if hasattr(stub, name))

    def metadata(self) -> Metadata:
        """What is sent with every call."""
        return self._lane + bearer(self._token)

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
        """The answer to one request, within `timeout` seconds, all attempts included.

        Raises ClipserveError. A call that is not idempotent is tried again only if the server did not do it.
        Calls with a scope can be cancelled; make them in threads of ours only: gRPC hangs at the channel's
        close if Ctrl-C, which arrives in the main thread, hits the start of a call that is a future.
        """
        method = self.method(name)
        deadline = time.monotonic() + timeout
        attempts = CallAttempts(self.retry, self.budget, deadline=deadline, idempotent=idempotent)
        size = request.ByteSize()
        # A server with little room lets a large message wait before it is sent, not when half of it is there.
        large = ((EXPECTED, str(size)),) if size > LARGE_BYTES else ()
        while True:
            left = max(0.0, deadline - time.monotonic())
            metadata = self.metadata() + large
            try:
                with forks.in_call():
                    if scope is None:
                        answer = method(request, timeout=left, metadata=metadata)
                    else:
                        start = functools.partial(method.future, request, timeout=left, metadata=metadata)
                        answer = scope.answer(start)
                    self.budget.succeeded()
                    return answer
            except ValueError:
                # What gRPC says if the channel was closed since we looked.
                self.check()
                raise
            except grpc.RpcError as error:
                failure = self.failure(error, rebase, timeout)
                with forks.in_call():
                    delay = attempts.next_delay(failure, time.monotonic())
                if delay is None:
                    raise self.explained(failure.error) from error
                if scope is None:
                    time.sleep(delay)
                else:
                    scope.wait(delay)

    def explained(self, error: ClipserveError) -> ClipserveError:
        """The same error; one of a server that cannot be reached says why, as far as can be found out."""
        if isinstance(error, Unavailable) and NO_CONNECTION.search(error.message):
            said, then, cause = self._cause
            if said != error.message or time.monotonic() - then > CAUSE_SECONDS:
                cause = cause_of(self.uri, self._tls)
                self._cause = (error.message, time.monotonic(), cause)
            if cause is not None:
                reword(error, f"cannot reach a server at {place(self.uri)}: {cause.words}")
                error.metadata["cause"] = cause.name
        return error

    def failure(
        self, error: grpc.RpcError, rebase: Callable[[str], str] = str, timeout: float = 0
    ) -> Failure:
        """What a failed attempt means, told in the caller's terms."""
        code = error.code()
        failure = read_failure(
            code.name if code else "UNKNOWN", error.details() or "", error.trailing_metadata() or (), rebase
        )
        if self._closed and failure.error.code == "CANCELLED":
            reword(failure.error, "the client was closed before the answer came")
        elif not failure.answered:
            describe(failure.error, self.uri, timeout)
        return failure


def describe(error: ClipserveError, uri: str, timeout: float) -> None:
    """Says in words of ours what gRPC itself found out."""
    where = place(uri)
    if error.code == "UNAVAILABLE":
        # gRPC ends what OpenSSL says with the state of another check, which passed.
        why = error.message.removesuffix(": OK")
        reword(error, f"cannot reach a server at {where}: {why}")
    elif error.code == "DEADLINE_EXCEEDED" and timeout:
        reword(error, f"no answer from {where} within {timeout:g} s")
    elif error.code == "UNIMPLEMENTED":
        reword(error, f"the server at {where} does not know this call: {error.message}")


def reword(error: ClipserveError, message: str) -> None:
    """Gives an error other words."""
    error.message = message
    error.args = (message,)


def place(uri: str) -> str:
    """A target as people know it, with the proxy that leads to it."""
    where = uri.removeprefix("dns:///")
    proxy = proxy_for(uri)
    return f"{where} through {proxy}" if proxy else where
