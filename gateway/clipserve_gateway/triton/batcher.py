"""Rows of several callers in one call to a tower."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from clipserve_gateway.errors import InferenceFailed
from clipserve_gateway.flow.concurrency import gather
from clipserve_gateway.flow.deadline import Deadline, deadline_exceeded
from clipserve_gateway.triton.encoder import Rows, stacked
from clipserve_gateway.types import Floats

LEAD = 0.25
"""Rows go to Triton when this part of the call that it works on is left: so they are there when it is done,
and it joins them with what else has come."""
LEAST_WAIT = 0.003
"""Seconds; no more than LEAD. Later ones, too, wait a little for each other."""
MOST_WAIT = 0.1
"""Seconds."""
MOST_WAIT_BESIDE = 1.0
"""Seconds that few rows wait while an instance works on nothing, whose cores others use."""
LATE = 1.25
"""Of the usual time of a call, after which they go: beside it they would have only a part of the cores."""
ENOUGH, ENOUGH_ROWS = 0.125, 4
"""Of a batch, and no fewer than so many rows, are worth taking cores from the calls under way."""
FRESH = 0.25
"""Weight of the latest call in how long one takes."""
AT_ONCE = 0.01
"""Seconds within which the answers of one batch arrive."""


class _Part:
    """One caller's rows, and the answer that it waits for."""

    def __init__(self, rows: Rows, deadline: Deadline) -> None:
        self.rows = rows
        self.deadline = deadline
        self.answer: asyncio.Future[Floats] = asyncio.get_running_loop().create_future()

    def expire(self) -> None:
        """The deadline has come."""
        self.fail(deadline_exceeded("encode"))

    def fail(self, error: Exception) -> None:
        """Answers with an error, unless the caller has gone."""
        if not self.answer.done():
            self.answer.set_exception(error)


class _Work(NamedTuple):
    """A call that Triton works on, as far as one can tell."""

    since: float
    """On the loop's clock; the same moment for all that are in one batch."""
    waited: bool
    """In Triton's queue, behind others."""


class Batcher:
    """Joins what callers send to one tower while it is busy.

    A call costs gateway and Triton about as much for one row as for several. While fewer calls are under way
    than there should be, rows go at once. Then they wait until Triton is idle or about to be done with what
    it works on (LEAD), until they fill a batch, or for a moment (MOST_WAIT). Instances that share cores do
    more beside each other, but few rows are soonest answered one after the other: of those instances only
    one is taken at once, and the others by a batch that is not small (ENOUGH). A call ends with the latest of
    its callers' deadlines, and earlier where all of them have gone. If it fails by what is in it, each
    caller's rows go alone. Belongs to one event loop.

    Attributes:
        most: rows of one call.
        calls: that should be under way at a time, whatever their size.
        instances: calls that Triton can work on at a time, no fewer.
    """

    def __init__(self, send: Callable[[Rows, Deadline], Awaitable[Floats]]) -> None:
        self.most = 1
        self.calls = 1
        self.instances = 1
        self._send = send
        self._waiting: list[_Part] = []
        self._working: dict[asyncio.Task[bool], _Work] = {}
        self._queued: dict[asyncio.Task[bool], int] = {}
        """Calls that Triton has beyond those, and their rows."""
        self._timer: asyncio.TimerHandle | None = None
        self._usual = 0.0
        """Seconds that Triton works on a call."""

    async def run(self, rows: Rows, deadline: Deadline) -> Floats:
        """What the tower makes of one caller's rows, no more than `most`.

        Raises what `send` raises, and DeadlineExceeded.
        """
        loop = asyncio.get_running_loop()
        part = _Part(rows, deadline)
        self._waiting.append(part)
        if self._due:
            self._flush()
        elif self._timer is None or self._idle:
            self._flush_within(self._wait(deadline))
        expiry = loop.call_later(max(0.0, deadline.remaining()), part.expire)
        try:
            return await part.answer
        finally:
            expiry.cancel()

    def _flush_within(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._flush)

    def _wait(self, deadline: Deadline) -> float:
        """Seconds that rows which come now wait for others, unless a call ends sooner."""
        spent = asyncio.get_running_loop().time() - min(self._working.values()).since
        lead = LEAD * self._usual
        until, most = self._usual - lead, MOST_WAIT
        if self._idle:
            # What is sent sooner would not wait in Triton: an instance would begin with it. Who has no time
            # is better off so.
            until = LATE * self._usual
            most = min(MOST_WAIT_BESIDE, max(0.0, deadline.remaining() - self._usual))
        return min(most, max(until - spent, min(LEAST_WAIT, lead)))

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
        self._queued[calling] = sum(len(part.rows) for part in parts)
        self._work_on(waited=False)
        calling.add_done_callback(self._ended)

        def leave(_: asyncio.Future[Floats]) -> None:
            if all(part.answer.done() for part in parts):
                calling.cancel()

        for part in parts:
            part.answer.add_done_callback(leave)

    @property
    def _busy(self) -> int:
        """Instances that work on something."""
        return len({work.since for work in self._working.values()})

    @property
    def _idle(self) -> bool:
        """Whether Triton has an instance that works on nothing."""
        return self._busy < self.instances

    @property
    def _due(self) -> bool:
        """Whether what waits should go at once."""
        if self._busy < self.calls:
            return True
        rows = sum(len(part.rows) for part in self._waiting)
        return rows >= self.most or (self._idle and rows >= max(ENOUGH_ROWS, ENOUGH * self.most))

    def _work_on(self, *, waited: bool) -> None:
        """Counts as worked on what Triton takes out of its queue, if it is idle: as much as a batch holds."""
        if not self._idle:
            return
        now, room = asyncio.get_running_loop().time(), self.most
        for calling, rows in list(self._queued.items()):
            if rows > room:
                return
            room -= rows
            del self._queued[calling]
            self._working[calling] = _Work(now, waited)

    def _ended(self, calling: asyncio.Task[bool]) -> None:
        self._queued.pop(calling, None)
        work = self._working.pop(calling, None)
        if work is not None and not calling.cancelled() and calling.result():
            took = asyncio.get_running_loop().time() - work.since
            # What ends at once after it waited was in the batch before.
            if not work.waited or took > min(LEAD * self._usual, AT_ONCE):
                self._usual += FRESH * (took - self._usual)
        self._work_on(waited=True)
        if self._due:
            self._flush()

    async def _call(self, parts: Sequence[_Part]) -> bool:
        """Answers all parts; whether all of them at once."""
        try:
            rows = stacked([part.rows for part in parts])
            answer = await self._send(rows, max(part.deadline for part in parts))
        except InferenceFailed as error:
            if len(parts) == 1:
                parts[0].fail(error)
            else:
                await gather(*(self._call([part]) for part in parts))
            return False
        except Exception as error:
            for part in parts:
                part.fail(error)
            return False
        first = 0
        for part in parts:
            if not part.answer.done():
                part.answer.set_result(answer[first : first + len(part.rows)])
            first += len(part.rows)
        return True
