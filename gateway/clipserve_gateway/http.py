"""The HTTP port: /metrics for Prometheus, /healthz and /readyz for the kubelet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import TimeoutError as FutureTimeout
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from clipserve_gateway.metrics import Metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ALIVE_SECONDS = 2.0
"""How long the event loop may take to answer before /healthz says it is stuck."""


class HttpServer:
    """Serves from threads of its own, so that it can tell when the event loop is stuck.

    /healthz: the loop answers. /readyz: `ready()` is true, that is, the gateway takes calls and some model
    is served. Neither depends on a single Triton replica's health.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        *,
        loop: asyncio.AbstractEventLoop,
        ready: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._ready = ready
        self._metrics_app = make_wsgi_app(metrics.registry)
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
        if path == "/healthz":
            return answer(start_response, self._alive(), "alive", "the event loop does not answer")
        if path == "/readyz":
            return answer(start_response, self._ready(), "ready", "no model is ready, or shutting down")
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"there are /metrics, /healthz and /readyz\n"]

    def _alive(self) -> bool:
        async def ping() -> None:
            pass

        try:
            asyncio.run_coroutine_threadsafe(ping(), self._loop).result(ALIVE_SECONDS)
        except (FutureTimeout, RuntimeError):
            return False
        return True


def answer(start_response: StartResponse, good: bool, yes: str, no: str) -> list[bytes]:
    """200 or 503, with a word for people."""
    status = "200 OK" if good else "503 Service Unavailable"
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{yes if good else no}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        """Probes are not worth a log line."""
