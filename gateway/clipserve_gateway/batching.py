"""Rows of several callers in one call to a tower."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from clipserve_gateway.concurrency import gather
from clipserve_gateway.deadline import Deadline, cut_off
from clipserve_gateway.encoder import Rows, stacked
from clipserve_gateway.errors import InferenceFailed
from clipserve_gateway.types import Floats

WAIT = 0.25
"""Rows wait for others for this part of what calls have taken of late: Triton, which is busy, gets them well
before it can use them, and joins them with what else has come."""
MOST_WAIT = 0.1
"""Seconds."""
FRESH = 0.25
"""Weight of the latest call in how long calls take."""


class _Part:
    """One caller's rows, and the answer that it waits for."""

    def __init__(self, rows: Rows, deadline: Deadline) -> None:
        self.rows = rows
        self.deadline = deadline
        self.answer: asyncio.Future[Floats] = asyncio.get_running_loop().create_future()

    def expire(self) -> None:
        """The deadline has come."""
        self.fail(cut_off("encode"))

    def fail(self, error: Exception) -> None:
        """Answers with an error, unless the caller has gone."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Batcher:
    """Joins what callers send to one tower while it is busy.

    A call costs gateway and Triton about as much for one row as for several. While fewer calls are under way
    than there should be, rows go at once. Then they wait until one ends, until they fill a batch, or for a
    moment (WAIT). A call ends with the latest of its callers' deadlines, and earlier where all of them have
    gone. If it fails by what is in it, each caller's rows go alone. Belongs to one event loop.

    Attributes:
        most: rows of one call.
        calls: that should be under way at a time.
    """

    def __init__(self, send: Callable[[Rows, Deadline], Awaitable[Floats]]) -> None:
        self.most = 1
        self.calls = 1
        self._send = send
        self._waiting: list[_Part] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._usual = 0.0
        """Seconds that a call takes."""

    async def run(self, rows: Rows, deadline: Deadline) -> Floats:
        """What the tower makes of one caller's rows, no more than `most`.

        Raises what `send` raises, and DeadlineExceeded.
        """
        loop = asyncio.get_running_loop()
        part = _Part(rows, deadline)
        self._waiting.append(part)
        if len(self._under_way) < self.calls or sum(len(it.rows) for it in self._waiting) >= self.most:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(min(MOST_WAIT, WAIT * self._usual), self._flush)
        expiry = loop.call_later(max(0.0, deadline.remaining()), part.expire)
        try:
            return await part.answer
        finally:
            expiry.cancel()

    def _flush(self) -> None:
        """Sends all that waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        call: list[_Part] = []
        for part in waiting:
            if part.answer.done():
                continue
            if call and sum(len(it.rows) for it in call) + len(part.rows) > self.most:
                self._begin(call)
                call = []
            call.append(part)
        if call:
            self._begin(call)

    def _begin(self, parts: list[_Part]) -> None:
        calling = asyncio.create_task(self._call(parts))
        self._under_way.add(calling)
        calling.add_done_callback(self._ended)

        def leave(_: asyncio.Future[Floats]) -> None:
            if all(part.answer.done() for part in parts):
                calling.cancel()

        for part in parts:
            part.answer.add_done_callback(leave)

    def _ended(self, calling: asyncio.Task[None]) -> None:
        self._under_way.discard(calling)
        if len(self._under_way) < self.calls:
            self._flush()

    async def _call(self, parts: Sequence[_Part]) -> None:
        """Answers all parts."""
        begin = time.monotonic()
        try:
            rows = stacked([part.rows for part in parts])
            answer = await self._send(rows, max(part.deadline for part in parts))
        except InferenceFailed as error:
            if len(parts) == 1:
                parts[0].fail(error)
            else:
                await gather(*(self._call([part]) for part in parts))
            return
        except Exception as error:
            for part in parts:
                part.fail(error)
            return
        self._usual += FRESH * (time.monotonic() - begin - self._usual)
        first = 0
        for part in parts:
            if not part.answer.done():
                part.answer.set_result(answer[first : first + len(part.rows)])
            first += len(part.rows)
