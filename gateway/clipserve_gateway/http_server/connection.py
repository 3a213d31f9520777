"""One HTTP/1.1 connection: uvicorn's protocol with time-outs, bounds and clear refusals."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from collections.abc import Callable, MutableMapping
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from clipserve_gateway.http_server.flow import MOST_BYTES, ReadFlow, Turns
from clipserve_gateway.http_server.limits import HttpLimits
from clipserve_gateway.http_server.pace import Pace
from clipserve_gateway.http_server.refusal import CLOSE, date, refusal
from clipserve_gateway.process.arrivals import acknowledged_bytes

log = logging.getLogger(__name__)

PIECE_BYTES = 64 * 1024
"""Bytes of an answer that are given to the connection at once. The next piece waits until they are sent."""
HEAD_SLICE_BYTES = 4 * 1024

Message = MutableMapping[str, Any]


class Phase(enum.Enum):
    """What a connection is doing."""

    HANDSHAKE = "TLS handshake"
    HEAD = "a request's headers arrive"
    IDLE = "between two requests"
    BODY = "a request's body arrives"
    ANSWER = "the application works, or its answer is sent"
    LINGER = "the rest of a request is dropped after its answer"
    CLOSING = "the last bytes are sent"


class Connection(H11Protocol):
    """Serves the requests of one connection, one after the other.

    Each request runs in a task, which ends once the answer is sent, and is cancelled when the client
    disconnects. `look` must be called every second.

    Attributes:
        raw: the transport below TLS; the same as `transport` without TLS.
        lost: whether the connection has ended.
    """

    def __init__(
        self,
        config: Config,
        state: ServerState,
        limits: HttpLimits,
        turns: Turns,
        changed: Callable[[Connection], None],
    ) -> None:
        """`changed` is called when the connection begins or ends to wait for a request."""
        super().__init__(config, state, {})
        self._limits = limits
        self._turns = turns
        self._changed = changed
        self._application = self.app
        self.app = self._run
        self.conn = h11.Connection(h11.SERVER, limits.head_bytes)
        self.raw: asyncio.Transport | None = None
        self.lost = False
        self._early = b""
        self._running: set[asyncio.Task[None]] = set()
        self._refused = False
        self._requests = 0
        self._received = 0
        self._born = self.loop.time()
        self._since = self._born
        self._seen = (Phase.HANDSHAKE, 0)
        self._arriving = Pace(limits.least_rate, limits.rate_seconds, self._born)
        self._sending = Pace(limits.least_rate, limits.stall_seconds, self._born)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio; for TLS, after the handshake."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        self.raw = self.raw or transport
        self.flow = ReadFlow(transport, self._turns, self._parse, self._most)
        # The answer's task waits until its bytes have left this process.
        self.raw.set_write_buffer_limits(high=0)
        if transport is not self.raw:
            transport.set_write_buffer_limits(high=1, low=0)
        self._since = self.loop.time()
        if self._early:
            self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self.transport is None:
            # TLS may bring bytes before it reports that its handshake is complete.
            self._early += data
            return
        data, self._early = self._early + data, b""
        self._received += len(data)
        if not self._refused:
            self.flow.received(data)  # type: ignore[attr-defined]

    def _parse(self, data: bytes) -> None:
        if self._refused or self.conn.their_state in (h11.MUST_CLOSE, h11.CLOSED):
            return  # The last request of this connection is complete.
        super().data_received(data)

    def _most(self) -> int:
        """Bytes that may be parsed at once: of a head, so few that one that is too large is refused."""
        return MOST_BYTES if self.conn.their_state is h11.SEND_BODY else HEAD_SLICE_BYTES

    def handle_events(self) -> None:
        """Called by uvicorn for each slice of bytes and after each answer."""
        super().handle_events()
        self._changed(self)

    def on_response_complete(self) -> None:
        """Called by uvicorn."""
        super().on_response_complete()
        self._changed(self)

    def _should_upgrade(self) -> bool:
        return False

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for a request that is not HTTP/1.1."""
        if len(self.conn.trailing_data[0]) > self._limits.head_bytes:
            most = self._limits.head_bytes
            self.refuse(431, f"the request's line and headers are more than {most} bytes; send fewer headers")
        else:
            self.refuse(400, "the request is not valid HTTP/1.1")

    def refuse(self, status: int, reason: str) -> None:
        """Answers the request with this status if no answer has begun, and ends the connection."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        if self.cycle is not None:
            self.cycle.disconnected = True
        self._cancel()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        if not self._received:
            self.transport.close()
            return
        self.transport.write(refusal(self.conn, status, reason))
        # A client that still sends could not read the answer if the connection were closed now.
        if self.transport.can_write_eof():
            # The client may have reset the connection after the answer was written.
            with contextlib.suppress(OSError):
                self.transport.write_eof()
        self.flow.close()  # type: ignore[attr-defined]
        self.flow.resume_reading()
        self._changed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self.transport is not None:
            self.flow.close()  # type: ignore[attr-defined]
            super().connection_lost(exc)
        self.lost = True
        self._cancel()
        self._changed(self)

    def abort(self) -> None:
        """Ends the connection at once."""
        if self.raw is not None:
            self.raw.abort()

    def shutdown(self) -> None:
        """Ends the connection after the answer to the request that it has."""
        if self.transport is None:
            self.abort()
        elif not self._refused and not self.transport.is_closing():
            super().shutdown()

    def _cancel(self) -> None:
        for task in self._running:
            task.cancel()

    async def _run(self, scope: Message, receive: Any, send: Any) -> None:
        """Runs the application for one request."""
        self._requests += 1
        most = self._limits.headers
        if scope["http_version"] not in ("1.0", "1.1"):
            self.refuse(505, "this server speaks HTTP/1.1 and 1.0 only")
            return
        if len(scope["headers"]) > most:
            self.refuse(431, f"the request has more than {most} headers; send fewer")
            return
        task = asyncio.current_task()
        assert task is not None, "uvicorn runs this in a task"
        self._running.add(task)
        cycle = self.cycle
        try:
            await self._application(scope, receive, lambda message: self._send(cycle, send, message))
        except asyncio.CancelledError:
            # The client has left, or the server stops.
            cycle.disconnected = True
            if not self._refused:
                self.abort()
        finally:
            self._running.discard(task)

    async def _send(self, cycle: Any, send: Any, message: Message) -> None:
        """Sends a message of an answer; returns when the system has taken its bytes."""
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"date", date())]
            if not cycle.keep_alive or self.loop.time() - self._born > self._limits.age_seconds:
                headers.append(CLOSE)
            await send({**message, "headers": headers})
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        for start in range(0, max(1, len(body)), PIECE_BYTES):
            piece = bytes(body[start : start + PIECE_BYTES])
            last = start + PIECE_BYTES >= len(body)
            await send({"type": message["type"], "body": piece, "more_body": more or not last})
            await self.flow.drain()
            if cycle.disconnected:
                return

    @property
    def waits(self) -> bool:
        """Whether the connection can be closed without loss: it has no request, or its answer is sent."""
        return self.phase in (Phase.HANDSHAKE, Phase.HEAD, Phase.IDLE, Phase.LINGER, Phase.CLOSING)

    @property
    def phase(self) -> Phase:
        """What the connection is doing."""
        if self.transport is None:
            return Phase.HANDSHAKE
        if self.transport.is_closing():
            return Phase.CLOSING
        if self._refused:
            return Phase.LINGER
        if self.conn.their_state is h11.IDLE:
            arriving = not self._requests or bool(self.conn.trailing_data[0])
            return Phase.HEAD if arriving else Phase.IDLE
        if self.conn.their_state is h11.SEND_BODY:
            return Phase.LINGER if self.cycle.response_complete else Phase.BODY
        return Phase.ANSWER

    def look(self, now: float, *, late: bool) -> None:
        """Closes the connection if its client is too slow.

        `now` is the event loop's time. `late`: the loop was held, so the client is not to blame for the time
        since the last look.
        """
        seen, limits = (self.phase, self._requests), self._limits
        anew = late or seen != self._seen
        if late or (anew and self._seen[0] is not Phase.HANDSHAKE):
            self._since = now
        self._seen, waited = seen, now - self._since
        phase = seen[0]
        # Bytes that wait for their turn may complete the request: the server is late, not the client.
        waits = self.flow.has_turn  # type: ignore[attr-defined]
        if phase is Phase.HEAD and waited > limits.head_seconds and not waits:
            self.refuse(408, f"no complete request arrived within {limits.head_seconds:g} s")
        elif phase is Phase.LINGER and waited > limits.linger_seconds:
            self.abort()
        self._look_at_body(now, rest=anew or phase is not Phase.BODY)
        self._look_at_answer(now, rest=late)

    def _look_at_body(self, now: float, *, rest: bool) -> None:
        """Ends a request whose body arrives too slowly. While this server reads nothing, nothing counts."""
        rest = rest or self.flow.read_paused or self.cycle.waiting_for_100_continue
        if self._arriving.too_slow(now, self._received, rest=rest):
            least = self._limits.least_rate
            self.refuse(408, f"the request's body arrived at less than {least} bytes a second")

    def _look_at_answer(self, now: float, *, rest: bool) -> None:
        """Ends a connection whose client does not read."""
        if self.raw is None or self.transport is None:
            return
        acknowledged = None
        if self.raw.get_write_buffer_size() and not rest:
            acknowledged = acknowledged_bytes(self.raw.get_extra_info("socket").fileno())
        if self._sending.too_slow(now, acknowledged or 0, rest=acknowledged is None):
            log.info("closed a connection whose client does not read its answer")
            self.abort()
