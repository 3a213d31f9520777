"""What all methods of the client stand on: single calls, pages, jobs, streams, and the server's limits."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

from clipserve.calls.stream import BatchStream, parts_of
from clipserve.errors import LimitExceeded, ResourceExhausted
from clipserve.jobs.base import Job, StreamMethod
from clipserve.jobs.pace import Pace
from clipserve.jobs.pipeline import in_order
from clipserve.messages.requests import Chunk, rebaser
from clipserve.messages.responses import read_server_info
from clipserve.transport.unary_call import Scope, Transport
from clipserve.types import ServerInfo
from clipserve.v1 import clip_pb2

R = TypeVar("R")
Progress: TypeAlias = Callable[[int], None]

DEFAULT_TIMEOUT = 60.0
INFO_SECONDS = 300.0
"""How long the server's limits are believed."""


class Calls:
    """Sends requests as the client was told to.

    `timeout` is of each request, its retries included; None means the client's own, or the default.
    """

    def __init__(
        self, transport: Transport, *, timeout: float | None, batch_size: int, in_flight: int
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._batch_size = batch_size
        self._in_flight = in_flight
        self._info: tuple[float, ServerInfo] | None = None
        """Read and replaced as a whole, so it needs no lock: a lock might be held when the process forks."""

    def info(self, *, timeout: float | None = None) -> ServerInfo:
        """The server's models and limits, asked anew."""
        response = self._call("GetServerInfo", clip_pb2.GetServerInfoRequest(), timeout)
        found = read_server_info(response)
        self._info = (time.monotonic(), found)
        return found

    def _call(self, name: str, request: Message, timeout: float | None, *, idempotent: bool = True) -> Any:
        seconds = timeout or self._timeout or DEFAULT_TIMEOUT
        return self._transport.unary(name, request, timeout=seconds, idempotent=idempotent)

    def _pages(self, name: str, request: Any, timeout: float | None) -> Iterator[Any]:
        """The answers to a request that pages, to the last page; each is asked for when it is drawn."""
        while True:
            response = self._call(name, request, timeout)
            yield response
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    def _run(self, job: Job[R], timeout: float | None, progress: Progress | None = None) -> R:
        """Sends a job's requests, a few at a time, and returns its result.

        Where somebody watches the progress, requests are small enough to show it.
        """
        fixed = timeout or self._timeout
        pace = None if progress is None else Pace(self._batch_size)
        caller = threading.current_thread()
        with Scope() as scope:

            def answer(chunk: Chunk) -> Any:
                start = time.monotonic()
                response = self._transport.unary(
                    job.method,
                    chunk.request,
                    timeout=fixed or DEFAULT_TIMEOUT + job.extra_seconds(chunk),
                    idempotent=job.idempotent,
                    rebase=rebaser(job.name, chunk.positions),
                    scope=None if threading.current_thread() is caller else scope,
                )
                if pace is not None:
                    pace.note(len(chunk.positions), time.monotonic() - start)
                return response

            most = None if pace is None else lambda: pace.size
            chunks = job.chunks(self._cached_info(timeout), self._batch_size, most)
            try:
                pairs = in_order(chunks, answer, width=self._in_flight, cancel=scope.cancel)
                with contextlib.closing(pairs):
                    for chunk, response in pairs:
                        job.take(chunk, response)
                        if progress is not None:
                            progress(chunk.positions[-1] + 1)
            except (LimitExceeded, ResourceExhausted):
                # The limits may have changed under us: ask for them before the next call.
                self._info = None
                raise
        if progress is not None:
            progress(job.total)
        return job.result()

    def _stream(
        self,
        method: StreamMethod,
        batches: Iterable[Any],
        start: Callable[[Any], Job[R]],
        timeout: float | None,
    ) -> Iterator[R]:
        """One result for each batch; batches are drawn as answers come, a few ahead."""
        info = self._cached_info()
        size = info.limits.max_items_per_call
        patience = timeout or self._timeout or DEFAULT_TIMEOUT + size / 2
        parts = parts_of(batches, start, info, size)
        window = info.limits.stream_window
        return BatchStream(self._transport, method, parts, window=window, timeout=patience).results()

    def _cached_info(self, timeout: float | None = None) -> ServerInfo:
        cached = self._info
        if cached is not None and time.monotonic() - cached[0] < INFO_SECONDS:
            return cached[1]
        return self.info(timeout=timeout)
