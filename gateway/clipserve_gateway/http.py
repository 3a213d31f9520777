"""The HTTP port: /metrics for Prometheus, and pages like /healthz and /readyz for the kubelet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ALIVE_SECONDS = 4.0
"""How long an answer may take before nobody is there; the largest picture decodes in about a second."""

Check: TypeAlias = Callable[[], str]
"""What is wrong, in a few words for people; empty if nothing is. Called from threads of the server's."""


class HttpServer:
    """Serves from threads of its own, so that it can tell when the event loop is stuck.

    /metrics, and for each check a page: 200 while nothing is wrong, else 503 and what is.
    """

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, checks: Mapping[str, Check]
    ) -> None:
        """`checks` by path. Raises OSError if the address cannot be listened on."""
        self._checks = checks
        self._metrics_app = make_wsgi_app(registry)
        self._server = make_server(host, port, self._app, _Server, _Handler)
        self.port: int = self._server.server_port
        # How soon it sees that it shall stop.
        options = {"poll_interval": 0.1}
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs=options, name="http", daemon=True
        )

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stops answering and frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

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


def answer(start_response: StartResponse, status: str, text: str) -> list[bytes]:
    """One line of text."""
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]


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


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        """Probes are not worth a log line."""
