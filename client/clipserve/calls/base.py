"""The base of the client's methods: single calls, pages, jobs, streams, and the server's limits."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

from clipserve.calls.stream import BatchStream, split_batches
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
INFO_CACHE_SECONDS = 300.0
"""How long the server's limits are cached."""


class Calls:
    """Sends requests with the client's settings.

    `timeout` applies to each request, including its retries; None means the client's timeout or the default.
    """

    def __init__(
        self, transport: Transport, *, timeout: float | None, batch_size: int, in_flight: int
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._batch_size = batch_size
        self._in_flight = in_flight
        self._info: tuple[float, ServerInfo] | None = None
        """Replaced as a whole, so it needs no lock: a fork could copy a locked one."""

    def info(self, *, timeout: float | None = None) -> ServerInfo:
        """The server's version, models and limits, always fetched from the server."""
        info = read_server_info(self._call("GetServerInfo", clip_pb2.GetServerInfoRequest(), timeout))
        self._info = (time.monotonic(), info)
        return info

    def _call(self, name: str, request: Message, timeout: float | None, *, idempotent: bool = True) -> Any:
        seconds = timeout or self._timeout or DEFAULT_TIMEOUT
        return self._transport.unary(name, request, timeout=seconds, idempotent=idempotent)

    def _pages(self, name: str, request: Any, timeout: float | None) -> Iterator[Any]:
        """The pages of a list call. Each page is requested when the iterator reaches it."""
        while True:
            response = self._call(name, request, timeout)
            yield response
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    def _run(self, job: Job[R], timeout: float | None, progress: Progress | None = None) -> R:
        """Sends a job's requests, several at a time, and returns its result.

        With `progress`, requests are small enough to report it about twice a second.
        """
        given_timeout = timeout or self._timeout
        pace = None if progress is None else Pace(self._batch_size)
        caller = threading.current_thread()
        with Scope() as scope:

            def send(chunk: Chunk) -> Any:
                start = time.monotonic()
                response = self._transport.unary(
                    job.method,
                    chunk.request,
                    timeout=given_timeout or DEFAULT_TIMEOUT + job.extra_seconds(chunk),
                    idempotent=job.idempotent,
                    rebase=rebaser(job.name, chunk.positions),
                    scope=None if threading.current_thread() is caller else scope,
                )
                if pace is not None:
                    pace.record(len(chunk.positions), time.monotonic() - start)
                return response

            max_items = None if pace is None else lambda: pace.items
            chunks = job.chunks(self._cached_info(timeout), self._batch_size, max_items)
            try:
                pairs = in_order(chunks, send, width=self._in_flight, cancel=scope.cancel)
                with contextlib.closing(pairs):
                    for chunk, response in pairs:
                        job.add_response(chunk, response)
                        if progress is not None:
                            progress(chunk.positions[-1] + 1)
            except (LimitExceeded, ResourceExhausted):
                # The server's limits may have changed: fetch them again before the next call.
                self._info = None
                raise
        if progress is not None:
            progress(job.total)
        return job.result()

    def _stream(
        self,
        method: StreamMethod,
        batches: Iterable[Any],
        new_job: Callable[[Any], Job[R]],
        timeout: float | None,
    ) -> Iterator[R]:
        """One result for each batch. Batches are read as answers arrive, a few ahead of them."""
        info = self._cached_info()
        max_items = info.limits.max_items_per_call
        answer_timeout = timeout or self._timeout or DEFAULT_TIMEOUT + max_items / 2
        parts = split_batches(batches, new_job, info, max_items)
        window = info.limits.stream_window
        return BatchStream(self._transport, method, parts, window=window, timeout=answer_timeout).results()

    def _cached_info(self, timeout: float | None = None) -> ServerInfo:
        cached = self._info
        if cached is not None and time.monotonic() - cached[0] < INFO_CACHE_SECONDS:
            return cached[1]
        return self.info(timeout=timeout)
