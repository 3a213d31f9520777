"""A web server on the running event loop: uvicorn's HTTP/1.1 with bounds, TLS, and a stop that drains."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.server import ServerState

from clipserve_gateway.http_server.connection import Connection
from clipserve_gateway.http_server.flow import Turns
from clipserve_gateway.http_server.limits import HttpLimits
from clipserve_gateway.http_server.refusal import refusal

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Interval of looks at the open connections."""
LATE_SECONDS = 1.0
"""If a look comes later than this, the event loop was held."""
BACKLOG = 512
"""Connections that the system queues until this process accepts them."""
READ_BYTES = 64 * 1024
"""Most bytes that are read of a connection at once."""

# asyncio keeps a buffer of this size for each connection with TLS; its default is 256 KiB.
sslproto.SSLProtocol.max_size = READ_BYTES
# uvicorn warns of each request that is not valid: any client could fill the log.
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


class WebServer:
    """Serves an ASGI application over HTTP/1.1.

    Args:
        app: is called in a task for each request. The task ends once the answer is sent, and is cancelled
            when the client disconnects. `lifespan` and websockets are not offered.
        listener: from `listen`.
        context: returns the TLS context for a new connection; None for plain text.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        listener: socket.socket,
        limits: HttpLimits | None = None,
        context: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._limits = limits or HttpLimits()
        self._context = context
        self._config = Config(
            app,
            interface="asgi3",
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            workers=1,
            server_header=False,
            date_header=False,
            timeout_keep_alive=self._limits.idle_seconds,  # type: ignore[arg-type]
            # Otherwise a pipelined request would get the context of the one before it.
            reset_contextvars=True,
        )
        self._config.load()
        self._state = ServerState()
        self._turns = Turns()
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}
        """Connections that can be closed without loss, in the order in which they began to wait."""
        self._handshakes: set[asyncio.Task[None]] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begins to accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Arrival(self._accepted), sock=self._listener, backlog=BACKLOG
        )

    async def stop(self, grace_seconds: float) -> None:
        """Accepts no more connections, lets requests end for `grace_seconds`, and closes all connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=grace_seconds)
        for connection in list(self._open):
            connection.abort()
        pending = {*self._state.tasks, *self._handshakes}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if self._looking is not None:
            self._looking.cancel()

    def _accepted(self, raw: asyncio.Transport) -> None:
        """Begins to serve an accepted connection, before TLS."""
        raw.max_size = READ_BYTES  # type: ignore[attr-defined]
        connection = Connection(self._config, self._state, self._limits, self._turns, self._changed)
        connection.raw = raw
        if len(self._open) >= self._limits.connections and not self._make_room():
            if self._context is None:
                reason = f"this server has {len(self._open)} connections, its limit; try again in a second"
                raw.write(refusal(h11.Connection(h11.SERVER), 503, reason))
                raw.close()
            else:
                raw.abort()
            return
        self._open.add(connection)
        self._waiting[connection] = None
        if self._looking is None:
            loop = asyncio.get_running_loop()
            self._looking = loop.call_later(LOOK_SECONDS, self._look, loop.time() + LOOK_SECONDS)
        if self._context is None:
            raw.set_protocol(connection)
            connection.connection_made(raw)
            return
        raw.pause_reading()
        task = asyncio.get_running_loop().create_task(self._secure(connection, raw, self._context()))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _secure(self, connection: Connection, raw: asyncio.Transport, context: ssl.SSLContext) -> None:
        """Makes the TLS handshake."""
        seconds = self._limits.head_seconds
        try:
            transport = await asyncio.get_running_loop().start_tls(
                raw,
                connection,
                context,
                server_side=True,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
        except OSError:
            transport = None
        if transport is None or transport.is_closing():
            raw.abort()
            self._forget(connection)
        else:
            connection.connection_made(transport)

    def _make_room(self) -> bool:
        """Closes the connection that has waited longest for a request; False if none waits."""
        connection = next(iter(self._waiting), None)
        if connection is None:
            return False
        connection.abort()
        self._forget(connection)
        return True

    def _changed(self, connection: Connection) -> None:
        if connection.lost:
            self._forget(connection)
        elif not connection.waits:
            self._waiting.pop(connection, None)
        elif connection in self._open:
            self._waiting.setdefault(connection)

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def _look(self, due: float) -> None:
        """Looks at all connections, every LOOK_SECONDS while there are some."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._open):
            look_at(connection, now, late=now - due > LATE_SECONDS)
        self._looking = None
        if self._open:
            self._looking = loop.call_later(LOOK_SECONDS, self._look, now + LOOK_SECONDS)


def look_at(connection: Connection, now: float, *, late: bool) -> None:
    """Looks at a connection. An error of one connection does not end the time limits of the others."""
    try:
        connection.look(now, late=late)
    except Exception:
        log.exception("a connection is closed: it cannot be looked at")
        connection.abort()


class Arrival(asyncio.Protocol):
    """A connection that was just accepted."""

    def __init__(self, accepted: Callable[[asyncio.Transport], None]) -> None:
        self._accepted = accepted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._accepted(transport)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError if the address cannot be bound."""
    addresses = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, address = addresses[0][0], addresses[0][4]
    listener = socket.create_server((str(address[0]), int(address[1])), family=family, backlog=BACKLOG)
    # Accepted connections inherit it. asyncio sets it only where the socket names TCP as its protocol;
    # without it, the second part of an answer waits 40 ms for the acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def log_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs an error of an event loop, such as missing file descriptors, in one line."""
    log.warning("port of operations: %s: %s", context["message"], context.get("exception", ""))
