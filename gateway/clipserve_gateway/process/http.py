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
"""How long an answer may take before nobody is there; the largest picture decodes in about a second."""
CONNECTIONS = 512
"""Open connections. One more closes the oldest of those whose request has not arrived."""
REQUEST_SECONDS = 5.0
"""Time for a request to arrive, and for an answer to be read."""
MAX_HEAD_BYTES = 8192
"""Of a request's line and headers."""
BACKLOG = 512
"""Connections that the system keeps until this process takes them."""
THREADS = 4
"""Answers that are made at the same time."""

Check: TypeAlias = Callable[[], str]
"""What is wrong, in a few words for people; empty if nothing is. Called from threads of the server's."""


class HttpServer:
    """Serves from threads of its own, so that it can tell when the gateway's event loop is stuck.

    /metrics, and for each check a page: 200 while nothing is wrong, else 503 and what is. An event loop of
    its own receives requests and sends answers, so that a slow client holds no thread.
    """

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, checks: Mapping[str, Check]
    ) -> None:
        """`checks` by path. Raises OSError if the address cannot be listened on."""
        self._checks = checks
        self._metrics_app = make_wsgi_app(registry)
        self._listener = listener(host, port)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(tell)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="http-answer")
        self._arriving: dict[asyncio.Task, None] = {}
        """Connections whose request has not arrived; the oldest is first."""
        self._connections: set[asyncio.Task] = set()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()
        self._serving.wait()

    def stop(self) -> None:
        """Stops answering and frees the port."""
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
        """One request and its answer."""
        task = asyncio.current_task()
        assert task is not None, "asyncio runs it as a task"
        if len(self._connections) >= CONNECTIONS and self._arriving:
            oldest = next(iter(self._arriving))
            del self._arriving[oldest]
            oldest.cancel()
        self._connections.add(task)
        self._arriving[task] = None
        try:
            # A client that went away, or was too slow or too long, gets no answer.
            with contextlib.suppress(OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_SECONDS)
                self._arriving.pop(task, None)
                writer.write(await self._loop.run_in_executor(self._threads, self._answer, head))
                await asyncio.wait_for(drained(writer), REQUEST_SECONDS)
        except asyncio.CancelledError:
            pass
        finally:
            self._arriving.pop(task, None)
            self._connections.discard(task)
            writer.transport.abort()

    def _answer(self, head: bytes) -> bytes:
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
        if path not in self._checks:
            return answer(
                start_response, "404 Not Found", f"there are {', '.join(self._checks)} and /metrics"
            )
        if wrong := self._checks[path]():
            return answer(start_response, "503 Service Unavailable", wrong)
        return answer(start_response, "200 OK", "ok")


def listener(host: str, port: int) -> socket.socket:
    """A socket that is bound to the address; OSError if it cannot be."""
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, address = found[0][0], found[0][4]
    return socket.create_server((str(address[0]), int(address[1])), family=family, backlog=BACKLOG)


async def drained(writer: asyncio.StreamWriter) -> None:
    """Waits until all has been handed to the system, and the client has read it or left."""
    transport = writer.transport
    transport.set_write_buffer_limits(high=0)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


def environ_of(head: bytes) -> dict[str, str]:
    """What WSGI wants of a GET or HEAD request; empty for anything else."""
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
    """Refuses what is not a request for a page."""
    return answer(start_response, "400 Bad Request", "send GET PATH HTTP/1.1")


def answer(start_response: StartResponse, status: str, text: str) -> list[bytes]:
    """One line of text."""
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]


def tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs what goes wrong in the loop, like a lack of file descriptors, in one line."""
    log.warning("HTTP port: %s: %s", context["message"], context.get("exception", ""))


async def nothing() -> None:
    """Returns as soon as the event loop has a moment."""


def loop_check(
    loop: asyncio.AbstractEventLoop, ping: Callable[[], Coroutine[Any, Any, None]] = nothing
) -> Check:
    """Whether an event loop answers, and what `ping` waits for."""

    def check() -> str:
        pinging = asyncio.run_coroutine_threadsafe(ping(), loop)
        try:
            pinging.result(ALIVE_SECONDS)
        except (FutureTimeout, RuntimeError):
            pinging.cancel()
            return f"no answer within {ALIVE_SECONDS:g} s"
        return ""

    return check
