"""Joins rows of several callers into one call to a tower."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from clipserve_gateway.errors import InferenceFailed
from clipserve_gateway.flow.concurrency import gather
from clipserve_gateway.flow.deadline import Deadline, deadline_exceeded
from clipserve_gateway.triton.encoder import Rows, stacked
from clipserve_gateway.types import Floats

MAX_WAIT_SECONDS = 0.01
"""Measured: longer waits delay texts that come one by one, shorter waits cost the gateway more calls."""


class _Request:
    """The rows of one caller, and the future that the caller awaits."""

    def __init__(self, rows: Rows, deadline: Deadline) -> None:
        self.rows = rows
        self.deadline = deadline
        loop = asyncio.get_running_loop()
        self.since = loop.time()
        self.answer: asyncio.Future[Floats] = loop.create_future()

    def fail(self, error: Exception) -> None:
        """Raises `error` in the caller, unless the caller has left."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Batcher:
    """Joins what several callers send to one tower.

    Rows are sent at once while the tower has room for another call, or when they fill a call. Otherwise they
    wait until a call ends; after `max_wait` they are sent if the next batch still has room for them.

    Calls that are sent while the tower is busy wait in Triton's queue; Triton joins them to a batch when an
    instance becomes free. More rows in the queue than a batch holds would not be encoded sooner, and Triton
    never splits a call: small calls would keep the rows of others out of a batch.
    A call runs until the latest of its callers' deadlines, and is cancelled when all of them have left. If
    the tower refuses a call, the rows of each caller are sent alone. Belongs to one event loop.

    Attributes:
        max_rows: largest number of rows in one call.
        max_calls: number of calls that the tower works on at the same time.
        max_wait: longest time in seconds that rows wait for others.
    """

    def __init__(self, send: Callable[[Rows, Deadline], Awaitable[Floats]], pad_id: int = 0) -> None:
        """`pad_id` fills texts that are shorter than others in a call."""
        self.max_rows = 1
        self.max_calls = 1
        self.max_wait = MAX_WAIT_SECONDS
        self._send = send
        self._pad_id = pad_id
        self._waiting: list[_Request] = []
        self._calls: dict[asyncio.Task[None], int] = {}
        """Calls under way, the oldest first, with the number of their rows."""
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, rows: Rows, deadline: Deadline) -> Floats:
        """Returns the tower's output for one caller's rows, at most `max_rows` of them.

        Raises what `send` raises, and DeadlineExceeded.
        """
        request = _Request(rows, deadline)
        self._waiting.append(request)
        self._send_waiting()
        seconds = max(0.0, deadline.remaining())
        expiry = asyncio.get_running_loop().call_later(seconds, request.fail, deadline_exceeded("encode"))
        try:
            return await request.answer
        finally:
            expiry.cancel()

    def _send_waiting(self) -> None:
        """Sends the rows that need not wait any longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting = [request for request in self._waiting if not request.answer.done()]
        while self._waiting:
            count = self._first_call()
            full = count < len(self._waiting) or row_count(self._waiting) >= self.max_rows
            room = len(self._calls) < self.max_calls or (self._overdue and self._fit_next_batch)
            if not (full or room):
                break
            self._begin(self._waiting[:count])
            self._waiting = self._waiting[count:]
        if self._waiting and not self._overdue:
            end = self._waiting[0].since + self.max_wait
            self._timer = asyncio.get_running_loop().call_at(end, self._send_waiting)

    @property
    def _overdue(self) -> bool:
        """Whether the oldest of the waiting rows have waited for `max_wait`, to a millisecond."""
        return asyncio.get_running_loop().time() >= self._waiting[0].since + self.max_wait - 0.001

    @property
    def _fit_next_batch(self) -> bool:
        """Whether the waiting rows fit into the next batch of each instance, with the rows in Triton's queue.

        The oldest calls are the ones that Triton works on.
        """
        queued = list(self._calls.values())[self.max_calls :]
        return sum(queued) + row_count(self._waiting) <= self.max_calls * self.max_rows

    def _first_call(self) -> int:
        """How many of the waiting requests fit into one call."""
        rows = 0
        for count, request in enumerate(self._waiting):
            rows += len(request.rows)
            if count and rows > self.max_rows:
                return count
        return len(self._waiting)

    def _begin(self, requests: Sequence[_Request]) -> None:
        call = asyncio.create_task(self._call(requests))
        self._calls[call] = row_count(requests)
        call.add_done_callback(self._end)

        def cancel_if_all_left(_: asyncio.Future[Floats]) -> None:
            if all(request.answer.done() for request in requests):
                call.cancel()

        for request in requests:
            request.answer.add_done_callback(cancel_if_all_left)

    def _end(self, call: asyncio.Task[None]) -> None:
        del self._calls[call]
        self._send_waiting()

    async def _call(self, requests: Sequence[_Request]) -> None:
        """Sends the rows of these requests in one call, and answers each request."""
        try:
            rows = stacked([request.rows for request in requests], self._pad_id)
            answer = await self._send(rows, max(request.deadline for request in requests))
        except InferenceFailed as error:
            if len(requests) == 1:
                requests[0].fail(error)
            else:
                await gather(*(self._call([request]) for request in requests))
            return
        except Exception as error:
            for request in requests:
                request.fail(error)
            return
        first = 0
        for request in requests:
            if not request.answer.done():
                request.answer.set_result(answer[first : first + len(request.rows)])
            first += len(request.rows)


def row_count(requests: Sequence[_Request]) -> int:
    """The rows of several requests together."""
    return sum(len(request.rows) for request in requests)
