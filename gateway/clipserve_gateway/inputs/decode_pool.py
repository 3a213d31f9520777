"""Threads that decode images, so that the event loop never does."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from clipserve_gateway.errors import Overloaded
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Gate, current_lane
from clipserve_gateway.flow.stages import add_work
from clipserve_gateway.flow.wanted import while_wanted
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.cores import available_cores

T = TypeVar("T")

QUEUED_PER_THREAD = 64
"""Decodes that may wait for each thread before the pool counts as saturated: about 0.1–0.3 s of work."""

REFUSED_PER_THREAD = 1024
"""Decodes that wait for each thread when more are refused: several of the largest calls, some seconds."""


class DecodePool:
    """Runs decodes on as many threads as there are cores to use (Pillow releases the GIL).

    Belongs to one event loop.

    Args:
        threads: 0 means the cores that this process may use.
        bulk_share: see Gate.
    """

    def __init__(self, metrics: Metrics, threads: int = 0, bulk_share: float = 0.1) -> None:
        self._metrics = metrics
        self.threads = threads or available_cores()
        self.gate = Gate(self.threads, bulk_share, "decode")
        self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix="decode")
        self._large = Gate(1, bulk_share, "decode")
        """One at a time; its units are what the work costs."""
        self._pending = 0

    async def run(
        self, work: Callable[[], T], *, deadline: Deadline, alone: bool = False, cost: int = 1
    ) -> T:
        """The result of `work()`. Work whose caller is gone or late by its turn is never begun.

        Of work that is to be alone, one runs at a time, beside other work; so it takes one thread at most. It
        waits for that as all work waits for a thread, in a fair queue: of lanes, and of callers in each, by
        `cost`, which is 1 for an ordinary image.

        Raises Overloaded where too much is waiting, DeadlineExceeded, or what the work raises.
        """
        if self._pending >= self.threads * (REFUSED_PER_THREAD + 1):
            raise Overloaded(
                "too many images are waiting to be decoded; try again later", metadata={"limit": "decode"}
            )
        with contextlib.ExitStack() as held:
            held.enter_context(self._counted())
            if alone:
                add_work(cost)
                self._large.check(current_lane(), cost, deadline)
                turn = await self._large.enter(cost, deadline=deadline)
                held.callback(lambda: self._large.leave(turn, cost, done=deadline.remaining() > 0))
            # Waiting here, not in the executor's own queue, is what lets a cancelled caller's work vanish.
            visit = await self.gate.enter(cost=cost, deadline=deadline)
            late = deadline.remaining() <= 0
            held.callback(self.gate.leave, visit, done=not late)
            deadline.check("decode")
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[T] = loop.create_future()
            running = self._executor.submit(self._timed, work, weakref.ref(answer), deadline)
            # A thread's place stays taken until it is done, even if the caller has gone; work asks for that.
            finish = functools.partial(finished, held.pop_all(), answer)
            running.add_done_callback(functools.partial(hand_over, loop, finish))
        try:
            return await answer
        finally:
            # An error's traceback holds this frame; with its future in it, they would keep each other, and
            # the image, until garbage is collected.
            del answer, running, finish

    def _timed(self, work: Callable[[], T], answer: weakref.ref[asyncio.Future[T]], deadline: Deadline) -> T:
        def wanted() -> bool:
            # Not the answer itself: an error's traceback would hold it, and it the error.
            waiting = answer()
            return waiting is not None and not waiting.cancelled() and deadline.remaining() > 0

        begin = time.thread_time()
        try:
            with while_wanted(wanted):
                return work()
        finally:
            self._metrics.decode_cpu_seconds.inc(time.thread_time() - begin)

    def check(self, images: int, deadline: Deadline) -> None:
        """Raises Overloaded where so many images, sent now, would be decoded after the deadline."""
        self.gate.check(current_lane(), images, deadline)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._pending += 1
        try:
            yield
        finally:
            self._pending -= 1

    def saturation(self) -> float:
        """0 for an idle pool, 1 for one that has as much waiting as it should."""
        return min(1.0, self._pending / (self.threads * (QUEUED_PER_THREAD + 1)))

    async def ping(self) -> None:
        """Returns once a thread has had a moment: after the decodes that run now, at the latest."""
        await asyncio.get_running_loop().run_in_executor(self._executor, int)

    def close(self) -> None:
        """Lets running work finish and ends the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def hand_over(
    loop: asyncio.AbstractEventLoop, finish: Callable[[Future[T]], None], running: Future[T]
) -> None:
    """Has the event loop finish what a thread has done, if it is still there."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(finish, running)


def finished(held: contextlib.ExitStack, answer: asyncio.Future[T], running: Future[T]) -> None:
    """Makes room for others, and answers the caller, unless it has gone.

    All in one step of the event loop; run_in_executor and shield, which do the same, take four.
    """
    held.close()
    if answer.done():
        return
    if running.cancelled():
        answer.cancel()
    elif (error := running.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set_result(running.result())
