"""A web server in a thread of its own, which answers while other event loops are held."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

from clipserve_gateway.http_server.server import WebServer, log_error


class WebThread:
    """Runs a web server on its own event loop in its own thread."""

    def __init__(self, make: Callable[[], WebServer], name: str) -> None:
        """`make` is called in the thread. `name` is the thread's."""
        self._make = make
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name=name, daemon=True)
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    def start(self) -> None:
        """Starts to serve."""
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        """Closes the port and all connections."""
        loop, stopping = self._started.result()
        loop.call_soon_threadsafe(stopping.set)
        self._thread.join()

    async def _serve(self) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(log_error)
        server = self._make()
        try:
            await server.start()
        except BaseException as error:
            self._started.set_exception(error)
            raise
        self._started.set_result((loop, stopping))
        await stopping.wait()
        await server.stop(0)
