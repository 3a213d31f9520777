"""Keeps a Triton running: one that ends is started again, and one that is judged dead is killed first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Protocol

from clipserve_gateway.guard.judgement import Judgement, Look
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.runtime.triton_process import TritonFailed

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the first restart, and at most: each failure doubles the pause."""
GOOD_SECONDS = 60.0
"""One that was ready for so long begins with the first pause again."""
STARTING_SECONDS = 0.3
"""Pause between looks at one that has not answered yet."""


class Process(Protocol):
    """A process that may be started again."""

    log: Path

    @property
    def pid(self) -> int:
        """Of the one that was started last."""
        ...

    async def start(self) -> None:
        """Starts it; TritonFailed or OSError if that cannot be."""
        ...

    async def wait(self) -> int:
        """Waits until it has ended; its exit code."""
        ...

    async def kill(self) -> None:
        """Ends it at once, with all that it leaves behind, even if it has ended by itself."""
        ...

    def last_words(self) -> str:
        """What it said last."""
        ...


class Supervisor:
    """Runs one Triton, until it is cancelled."""

    def __init__(
        self,
        triton: Process,
        look: Callable[[Collection[str]], Awaitable[Look]],
        settings: GuardSettings,
        *,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`look` looks at whatever runs: for models that it is given it may take what others have found just
        now. `say` tells people a line."""
        self._triton = triton
        self._look = look
        self._settings = settings
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._judgement = Judgement(settings)
        self._was_ready = False
        """Since the last start."""
        self._ready_since: float | None = None
        self._lost_at: float | None = None
        """When it failed, until it is back."""
        self._pause = FIRST_PAUSE

    @property
    def ready(self) -> bool:
        """Whether callers belong there."""
        return self._judgement.ready

    @property
    def why(self) -> str:
        """What is wrong, for people; with the last words of Triton. Empty where nothing is."""
        return self._judgement.why and f"{self._judgement.why}; its last words:\n{self._triton.last_words()}"

    async def run(self) -> None:
        """Starts Triton, and again whenever it fails; TritonFailed if the first is never ready."""
        await self._start()
        failure = await self._failure()
        if not self._was_ready:
            raise TritonFailed(failure)
        while True:
            pause = self._next_pause()
            self._say(f"✗ {failure}\n· Triton is started again in {pause:g} s")
            await self._sleep(pause)
            try:
                await self._start()
                failure = await self._failure()
            except (TritonFailed, OSError) as error:
                failure = str(error)

    async def _start(self) -> None:
        self._judgement = Judgement(self._settings)
        self._was_ready, self._ready_since = False, None
        await self._triton.start()
        self._say(f"· Triton (pid {self._triton.pid}) loads its models; its log: {self._triton.log}")

    async def _failure(self) -> str:
        """Waits until Triton ends or must be ended; why."""
        ended = asyncio.ensure_future(self._triton.wait())
        dead = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait((ended, dead), return_when=asyncio.FIRST_COMPLETED)
            what = f"ended with code {ended.result()}" if ended.done() else f"is killed: {dead.result()}"
        finally:
            ended.cancel()
            dead.cancel()
        words = self._triton.last_words()
        await self._triton.kill()
        if self._lost_at is None:
            self._lost_at = self._clock()
        return f"Triton (pid {self._triton.pid}) {what}; its last words:\n{words}"

    async def _watch(self) -> str:
        """Looks until Triton is judged dead; why."""
        while self._judgement.alive:
            look = await self._look(self._judgement.proved)
            for change in self._judgement.judge(look, self._clock()):
                # That all is well is told for the gateway and all its models together.
                if self._was_ready or not change.good:
                    self._say(f"{'✓' if change.good else '✗'} Triton (pid {self._triton.pid}): {change.text}")
            self._note_readiness()
            await self._sleep(self._judgement.pause if self._judgement.heard else STARTING_SECONDS)
        return self._judgement.why

    def _note_readiness(self) -> None:
        now = self._clock()
        if not self.ready:
            self._ready_since = None
        elif self._ready_since is None:
            self._was_ready, self._ready_since = True, now
            if self._lost_at is not None:
                self._say(f"✓ Triton (pid {self._triton.pid}) is back after {now - self._lost_at:.1f} s")
                self._lost_at = None

    def _next_pause(self) -> float:
        if self._ready_since is not None and self._clock() - self._ready_since >= GOOD_SECONDS:
            self._pause = FIRST_PAUSE
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause
