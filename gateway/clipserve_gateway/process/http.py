"""The HTTP port: /metrics for Prometheus, and pages like /healthz and /readyz for the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import logging
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Any, TypeAlias
from wsgiref.handlers import SimpleHandler

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

ALIVE_SECONDS = 4.0
"""Time in which an event loop must answer. The largest image decodes in about a second."""
CONNECTIONS = 512
"""Most open connections. One more closes the oldest connection whose request has not arrived."""
REQUEST_SECONDS = 5.0
"""Time for a request to arrive, and for the client to read the response."""
MAX_HEAD_BYTES = 8192
"""Most bytes of a request's line and headers."""
BACKLOG = 512
"""Connections that the system queues until this process accepts them."""
THREADS = 4
"""Responses that are made at the same time."""

Check: TypeAlias = Callable[[], str]
"""What is wrong, in a few words; empty if nothing is. The server's threads call it."""


class HttpServer:
    """Serves /metrics, pages of text, and a page for each check: 200, or 503 and what is wrong.

    It uses its own threads, so that it can report a blocked event loop of the gateway. Its own event loop
    receives requests and sends responses, so that slow clients block no thread.
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        checks: Mapping[str, Check],
        pages: Mapping[str, Callable[[], str]] | None = None,
    ) -> None:
        """`checks` and `pages` are by path; threads call them. Raises OSError if the server cannot listen on
        the address."""
        self._checks = checks
        self._pages = pages or {}
        self._metrics_app = make_wsgi_app(registry)
        self._listener = listen(host, port)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(log_error)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="http-answer")
        self._arriving: dict[asyncio.Task, None] = {}
        """Connections whose request has not arrived, oldest first."""
        self._connections: set[asyncio.Task] = set()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Starts to serve."""
        self._thread.start()
        self._serving.wait()

    def stop(self) -> None:
        """Stops serving and closes the port."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = asyncio.start_server(
            self._serve, sock=self._listener, limit=MAX_HEAD_BYTES, backlog=BACKLOG
        )
        server = self._loop.run_until_complete(serving)
        self._loop.call_soon(self._serving.set)
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handles one connection: a request and its response."""
        task = asyncio.current_task()
        assert task is not None, "asyncio runs this as a task"
        if len(self._connections) >= CONNECTIONS and self._arriving:
            oldest = next(iter(self._arriving))
            del self._arriving[oldest]
            oldest.cancel()
        self._connections.add(task)
        self._arriving[task] = None
        try:
            # Clients that have left, are too slow or send too much get no response.
            with contextlib.suppress(OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_SECONDS)
                self._arriving.pop(task, None)
                writer.write(await self._loop.run_in_executor(self._threads, self._respond, head))
                await asyncio.wait_for(drained(writer), REQUEST_SECONDS)
        except asyncio.CancelledError:
            pass
        finally:
            self._arriving.pop(task, None)
            self._connections.discard(task)
            writer.transport.abort()

    def _respond(self, head: bytes) -> bytes:
        """The whole HTTP response to a request's line and headers."""
        out = io.BytesIO()
        environ = environ_of(head)
        app = self._app if environ else bad_request
        SimpleHandler(io.BytesIO(), out, sys.stderr, environ | {"SERVER_PROTOCOL": "HTTP/1.0"}).run(app)
        head, gap, body = out.getvalue().partition(b"\r\n\r\n")
        return head + gap + (b"" if environ.get("REQUEST_METHOD") == "HEAD" else body)

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return self._metrics_app(environ, start_response)
        if path in self._pages:
            return plain_text(start_response, "200 OK", self._pages[path]())
        if path not in self._checks:
            pages = f"the pages are {', '.join((*self._checks, *self._pages))} and /metrics"
            return plain_text(start_response, "404 Not Found", pages)
        if wrong := self._checks[path]():
            return plain_text(start_response, "503 Service Unavailable", wrong)
        return plain_text(start_response, "200 OK", "ok")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError if the address cannot be bound."""
    addresses = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, address = addresses[0][0], addresses[0][4]
    return socket.create_server((str(address[0]), int(address[1])), family=family, backlog=BACKLOG)


async def drained(writer: asyncio.StreamWriter) -> None:
    """Waits until the system has taken all data and the connection is closed."""
    transport = writer.transport
    transport.set_write_buffer_limits(high=0)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


def environ_of(head: bytes) -> dict[str, str]:
    """The WSGI environment of a GET or HEAD request; empty for anything else."""
    line, _, rest = head.partition(b"\r\n")
    words = line.decode("latin-1").split(" ")
    if len(words) != 3 or words[0] not in ("GET", "HEAD") or not words[2].startswith("HTTP/1."):
        return {}
    try:
        headers = http.client.parse_headers(io.BytesIO(rest))
    except http.client.HTTPException:
        return {}
    path, _, query = words[1].partition("?")
    return {
        "REQUEST_METHOD": words[0],
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_ACCEPT": headers.get("accept", ""),
        "HTTP_ACCEPT_ENCODING": headers.get("accept-encoding", ""),
    }


def bad_request(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The response to anything but a GET or HEAD request."""
    return plain_text(start_response, "400 Bad Request", "send GET PATH HTTP/1.1")


def plain_text(start_response: StartResponse, status: str, text: str) -> list[bytes]:
    """A response of lines of text."""
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]


def log_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs an error of the event loop, such as missing file descriptors, in one line."""
    log.warning("HTTP port: %s: %s", context["message"], context.get("exception", ""))


async def ping_loop() -> None:
    """Returns as soon as the event loop runs it."""


def loop_check(
    loop: asyncio.AbstractEventLoop, ping: Callable[[], Coroutine[Any, Any, None]] = ping_loop
) -> Check:
    """A check that an event loop completes `ping` within ALIVE_SECONDS."""

    def check() -> str:
        pinging = asyncio.run_coroutine_threadsafe(ping(), loop)
        try:
            pinging.result(ALIVE_SECONDS)
        except (FutureTimeout, RuntimeError):
            pinging.cancel()
            return f"no answer within {ALIVE_SECONDS:g} s"
        return ""

    return check
