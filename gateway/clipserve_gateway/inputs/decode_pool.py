"""Threads that decode images, to keep this work off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from clipserve_gateway.errors import Overloaded
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import FairQueue, current_lane
from clipserve_gateway.flow.stages import add_work
from clipserve_gateway.flow.wanted import while_wanted
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.cores import available_cores

T = TypeVar("T")

QUEUED_PER_THREAD = 64
"""Waiting decodes per thread at which the pool counts as saturated: about 0.1–0.3 s of work."""

REFUSED_PER_THREAD = 1024
"""Most waiting decodes per thread; more are refused. Several of the largest calls, or seconds of work."""


class DecodePool:
    """Runs decodes on one thread for each core (Pillow releases the GIL). Belongs to one event loop.

    Args:
        threads: 0 means the number of cores that this process may use.
        bulk_share: see FairQueue.
    """

    def __init__(self, metrics: Metrics, threads: int = 0, bulk_share: float = 0.1) -> None:
        self._metrics = metrics
        self.threads = threads or available_cores()
        self.gate = FairQueue(self.threads, bulk_share, "decode")
        self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix="decode")
        self._large = FairQueue(1, bulk_share, "decode")
        """Large work runs one at a time and is charged by its cost."""
        self._pending = 0

    async def run(
        self, work: Callable[[], T], *, deadline: Deadline, alone: bool = False, cost: int = 1
    ) -> T:
        """The result of `work()`, which is not started if its caller has left or its deadline has passed.

        Args:
            deadline: DeadlineExceeded is raised when it passes before the work starts.
            alone: large work, of which one runs at a time, beside all other work.
            cost: share of the fair queue among lanes and callers; 1 for an ordinary image.

        Raises Overloaded if too much work waits, and the errors of `work`.
        """
        if self._pending >= self.threads * (REFUSED_PER_THREAD + 1):
            raise Overloaded(
                "too many images wait to be decoded; try again later", metadata={"limit": "decode"}
            )
        with contextlib.ExitStack() as held:
            self._pending += 1
            held.callback(self._forget)
            if alone:
                add_work(cost)
                self._large.check(current_lane(), cost, deadline)
                turn = await self._large.enter(cost, deadline=deadline)
                held.callback(lambda: self._large.leave(turn, cost, done=deadline.remaining() > 0))
            # Waiting here, and not in the executor's queue, drops the work of cancelled callers.
            visit = await self.gate.enter(cost=cost, deadline=deadline)
            late = deadline.remaining() <= 0
            held.callback(self.gate.leave, visit, done=not late)
            deadline.check("decode")
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[T] = loop.create_future()
            running = self._executor.submit(self._timed, work, weakref.ref(answer), deadline)
            # The thread counts as busy until its work ends, even if the caller has left.
            finish = functools.partial(finished, held.pop_all(), answer)
            running.add_done_callback(functools.partial(hand_over, loop, finish))
        try:
            return await answer
        finally:
            # An error's traceback holds this frame. With the future in it, the cycle would keep the image
            # until garbage collection.
            del answer, running, finish

    async def run_by_size(
        self, small: Callable[[], T | int], whole: Callable[[], T], *, deadline: Deadline
    ) -> T:
        """The result of `small()`. If that is a cost instead, the image is large: `whole()` runs alone.

        Raises as `run` does.
        """
        result = await self.run(small, deadline=deadline)
        if not isinstance(result, int):
            return result
        return await self.run(whole, deadline=deadline, alone=True, cost=result)

    def _timed(self, work: Callable[[], T], answer: weakref.ref[asyncio.Future[T]], deadline: Deadline) -> T:
        def wanted() -> bool:
            # A weak reference, because an error's traceback holds this frame, and the future holds the error.
            waiting = answer()
            return waiting is not None and not waiting.cancelled() and deadline.remaining() > 0

        begin = time.thread_time()
        try:
            with while_wanted(wanted):
                return work()
        finally:
            self._metrics.decode_cpu_seconds.inc(time.thread_time() - begin)

    def check(self, images: int, deadline: Deadline) -> None:
        """Raises Overloaded if this many images, sent now, would be decoded after the deadline."""
        self.gate.check(current_lane(), images, deadline)

    def _forget(self) -> None:
        self._pending -= 1

    def saturation(self) -> float:
        """0 for an idle pool, 1 for a full queue."""
        return min(1.0, self._pending / (self.threads * (QUEUED_PER_THREAD + 1)))

    async def ping(self) -> None:
        """Returns when a thread is free, at the latest after the decodes that run now."""
        await asyncio.get_running_loop().run_in_executor(self._executor, int)

    def close(self) -> None:
        """Lets running work finish, and ends the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def hand_over(
    loop: asyncio.AbstractEventLoop, finish: Callable[[Future[T]], None], running: Future[T]
) -> None:
    """Finishes a thread's work on the event loop, if that is still open."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(finish, running)


def finished(held: contextlib.ExitStack, answer: asyncio.Future[T], running: Future[T]) -> None:
    """Frees the thread for others, and answers the caller unless it has left.

    This takes one step of the event loop; run_in_executor with shield takes four.
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
