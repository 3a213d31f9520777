"""Serves the calls that HTTP carries, whatever the form of their bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from clipserve_gateway.access.call import Call
from clipserve_gateway.calls.messages import EXPECTED
from clipserve_gateway.calls.method import Method
from clipserve_gateway.calls.runner import CallRunner
from clipserve_gateway.errors import ClipserveError, DeadlineExceeded, InvalidInput
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.stages import note_arrival
from clipserve_gateway.http_adapter.body import Body, deflate
from clipserve_gateway.http_adapter.errors import failure_headers, stands_twice
from clipserve_gateway.http_adapter.transport import JSON, HttpTransport, JsonThread
from clipserve_gateway.process.loop_lag import LoopWaits
from clipserve_gateway.types import Limits

R = TypeVar("R")

TIMEOUT = "connect-timeout-ms"
TIMEOUT_DIGITS = 10
GZIP_BYTES = 16 << 10
"""Shorter answers are not compressed."""


class HttpCalls:
    """What the HTTP calls of one gateway share."""

    def __init__(self, runner: CallRunner, limits: Limits) -> None:
        self.limits = limits
        self._runner = runner
        self._thread = JsonThread()

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        method: Method,
        make: Callable[[Body, Method, Limits, JsonThread], HttpTransport],
        limit: int,
        refused: ClipserveError | None = None,
    ) -> None:
        """Answers a request by a call, in a task of its own, which ends once the answer is sent.

        The server cancels it when the client disconnects.

        Args:
            make: makes the call's transport; its class will do.
            limit: most bytes of the body.
            refused: an error that answers the call before its body is read.
        """
        note_arrival(LoopWaits.of(asyncio.get_running_loop()).came())
        headers = Headers(scope=scope)
        body = Body(headers, receive, limit)
        transport = make(body, method, self.limits, self._thread)
        call = call_of(method, scope, body.expected)

        async def answer() -> None:
            response = await self._answer(call, transport, headers, refused)
            await response(scope, receive, send)

        await asyncio.create_task(answer())

    async def _answer(
        self, call: Call, transport: HttpTransport, headers: Headers, refused: ClipserveError | None
    ) -> Response:
        status, data, answer_headers = 200, b"", {"content-type": transport.media_type}
        async with self._runner.running(call) as outcome:
            if refused is not None:
                raise refused
            call.deadline = deadline_of(headers)
            data = await in_time(self._runner.answer(call, transport.method, transport), call.deadline)
        if outcome.code != "OK":
            status, data = transport.failure(outcome)
            answer_headers = {"content-type": JSON, **failure_headers(outcome)}
        for name, value in outcome.trailers:
            # Clients of the Connect protocol expect trailers under names that begin with `trailer-`.
            answer_headers |= {name: value, f"trailer-{name}": value}
        if len(data) > GZIP_BYTES and accepts_gzip(headers):
            data = await asyncio.to_thread(deflate, data)
            answer_headers["content-encoding"] = "gzip"
        return Response(data, status, answer_headers)


def call_of(method: Method, scope: Scope, expected: int) -> Call:
    """The call, without HTTP and without its deadline. `expected`: most bytes of its message."""
    metadata: list[tuple[str, str | bytes]] = [(EXPECTED, str(expected))]
    for name, value in scope["headers"]:
        if (key := name.decode("latin-1")) != EXPECTED:
            metadata.append((key, value.decode("latin-1")))
    return Call(method.name, peer_of(scope), metadata, streaming=method.streaming)


def peer_of(scope: Scope) -> str:
    """The client's address in gRPC's form, e.g. `ipv4:127.0.0.1:41234`; `unix:` for a client without one."""
    host, port = scope.get("client") or ("", 0)
    if not host:
        return "unix:"
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"


def deadline_of(headers: Headers) -> Deadline | None:
    """The caller's deadline; None if it sets none. Raises InvalidInput."""
    values = headers.getlist(TIMEOUT)
    if not values:
        return None
    if len(values) > 1:
        raise stands_twice(TIMEOUT)
    (value,) = values
    if not (value.isascii() and value.isdigit() and len(value) <= TIMEOUT_DIGITS):
        raise InvalidInput(
            f"{TIMEOUT} must be a number of milliseconds, of at most {TIMEOUT_DIGITS} digits", field=TIMEOUT
        )
    return Deadline.after(int(value) / 1000)


async def in_time(work: Awaitable[R], deadline: Deadline | None) -> R:
    """The result of the work, or what it raises. Raises DeadlineExceeded."""
    seconds = None if deadline is None else max(0.0, deadline.remaining())
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineExceeded("the deadline passed before the answer was complete") from None


def accepts_gzip(headers: Headers) -> bool:
    """Whether the client takes an answer in gzip: it says so, or says nothing and sent gzip itself."""
    accepted = headers.get("accept-encoding", headers.get("content-encoding", ""))
    for part in accepted.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return not weight or weight.replace(" ", "").rstrip("0") not in ("q=", "q=0.")
    return False
