"""The operations port: /metrics for Prometheus, and pages such as /healthz and /readyz for the kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from clipserve_gateway.http_server.limits import HttpLimits
from clipserve_gateway.http_server.server import WebServer, listen
from clipserve_gateway.http_server.thread import WebThread

ALIVE_SECONDS = 4.0
"""Time in which an event loop must answer. The largest image decodes in about a second."""
LIMITS = HttpLimits(head_bytes=8192)

Check: TypeAlias = Callable[[], str]
"""What is wrong, in a few words; empty if nothing is. Threads call it."""


class OperationsServer:
    """Serves /metrics, pages of text, and a page for each check: 200, or 503 and what is wrong.

    It has its own thread and event loop, so that it can report that the gateway's event loop is held.
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
        listener = listen(host, port)
        self.port: int = listener.getsockname()[1]
        pages = pages or {}
        self._threads = ThreadPoolExecutor(len(checks) + len(pages) + 1, thread_name_prefix="operations")
        app = operations_app(registry, checks, pages, self._threads)
        self._thread = WebThread(lambda: WebServer(app, listener, LIMITS), "operations")

    def start(self) -> None:
        """Starts to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stops serving and closes the port."""
        self._thread.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


def operations_app(
    registry: CollectorRegistry,
    checks: Mapping[str, Check],
    pages: Mapping[str, Callable[[], str]],
    threads: ThreadPoolExecutor,
) -> Starlette:
    """The pages. At most one thread makes each of them; requests at the same time share its result."""
    metrics = make_asgi_app(registry)
    made: dict[str, asyncio.Future[str]] = {}

    async def text_of(path: str) -> str:
        text = made.get(path)
        if text is None:
            make = checks.get(path) or pages[path]
            text = made[path] = asyncio.get_running_loop().run_in_executor(threads, make)
            text.add_done_callback(lambda _: made.pop(path))
        # Other requests may still wait for it when one is cancelled.
        return await asyncio.shield(text)

    async def show_metrics(_: Request) -> Response:
        return metrics  # type: ignore[return-value]

    async def show_page(request: Request) -> Response:
        return plain_text(200, await text_of(request.scope["path"]))

    async def show_check(request: Request) -> Response:
        wrong = await text_of(request.scope["path"])
        return plain_text(503, wrong) if wrong else plain_text(200, "ok")

    async def show_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return plain_text(404, f"the pages are {', '.join((*checks, *pages))} and /metrics")
        return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)

    routes = [Route("/metrics", show_metrics)]
    routes += [Route(path, show_page) for path in pages]
    routes += [Route(path, show_check) for path in checks]
    app = Starlette(routes=routes, exception_handlers={HTTPException: show_error})
    app.router.redirect_slashes = False
    return app


def plain_text(status: int, text: str) -> PlainTextResponse:
    """A response of lines of text."""
    return PlainTextResponse(f"{text}\n", status)


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
