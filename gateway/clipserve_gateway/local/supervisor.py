"""Keeps a Triton running: one that ends is started again, and one that is judged dead is killed first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Protocol

from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.guard.triton_health import Judgement, Look
from clipserve_gateway.local.diagnosis import Diagnosis
from clipserve_gateway.local.diagnosis_rules import NO_ADDRESS_SPACE
from clipserve_gateway.local.triton_process import LAST_WORDS, LAST_WORDS_OF_A_START, TritonFailed

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the first restart, and at most: each failure doubles the pause."""
GOOD_SECONDS = 60.0
"""One that was ready for so long begins with the first pause again."""
STARTING_SECONDS = 0.3
"""Pause between looks at one that has not answered yet."""
FIRST_STARTS = 3
"""Starts in all before the first is ready, where each fails for a reason that may pass by itself."""
FIRST_START_SECONDS = 1.0
"""Longest pause between looks until the first one is ready: somebody waits for it."""
LOST_SECONDS = 3.0
"""A stub that ended so long ago while Triton loads, and that Triton has not noticed, is never noticed."""
NO_SPACE_SECONDS = 5.0
"""A Triton that has had no room for another thread for so long while it loads waits for one for ever.

The Python backend's thread pool deadlocks when a thread cannot be created.
"""


class Process(Protocol):
    """A process that may be started again."""

    @property
    def log(self) -> Path:
        """The file that it logs to."""
        ...

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

    def last_words(self, lines: int = LAST_WORDS) -> str:
        """What it said last."""
        ...

    def lost_stubs(self) -> dict[int, int]:
        """Exit codes, by pid, of its Python stubs that have ended and that it has not noticed yet."""
        ...

    def lacks_address_space(self) -> bool:
        """Whether it has no address space left for another thread."""
        ...

    def has_lost_all(self) -> bool:
        """Whether each model of the repository has a tower that Triton has failed to load, by its log."""
        ...

    def diagnose(self, exit_code: int | None, symptom: str) -> Diagnosis:
        """Why it failed: its exit code, if it ended by itself, and what was found wrong with its models."""
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
        self._first = True
        """It has never been ready."""
        self._first_starts = 0
        """How many starts there were while that is so."""
        self._lost: dict[int, float] = {}
        """When stubs were first seen to have ended, by pid."""
        self._no_space_since: float | None = None
        """When it was first seen without address space for another thread."""
        self._ready_since: float | None = None
        self._lost_at: float | None = None
        """When it failed, until it is back."""
        self._pause = FIRST_PAUSE

    @property
    def ready(self) -> bool:
        """Whether callers belong there."""
        return self._judgement.ready

    def failed(self, exit_code: int | None = None, symptom: str = "") -> TritonFailed:
        """Why the first Triton is not ready, and what to do: three lines for people."""
        diagnosis = self._triton.diagnose(exit_code, symptom or self._judgement.why)
        lines = [diagnosis.cause, f"· {diagnosis.remedy}", f"· Triton's log: {self._triton.log}"]
        if not diagnosis.known:
            lines += ["· its last words:", self._triton.last_words(LAST_WORDS_OF_A_START)]
        return TritonFailed("\n".join(lines), diagnosis)

    async def run(self) -> None:
        """Starts Triton, and again whenever it fails; TritonFailed if the first is never ready."""
        try:
            await self._start()
        except OSError as error:
            raise TritonFailed(f"Triton cannot be started: {error}") from error
        failure = await self._failure()
        while True:
            pause = self._next_pause()
            self._say(f"✗ {failure}\n· Triton is started again in {pause:g} s")
            await self._sleep(pause)
            try:
                await self._start()
                failure = await self._failure()
            except (TritonFailed, OSError) as error:
                if self._first:
                    raise
                failure = str(error)

    async def _start(self) -> None:
        self._judgement = Judgement(self._settings)
        self._was_ready, self._ready_since = False, None
        self._lost, self._no_space_since = {}, None
        self._first_starts += self._first
        await self._triton.start()
        self._say(f"· Triton (pid {self._triton.pid}) loads its models; its log: {self._triton.log}")

    async def _failure(self) -> str:
        """Waits until Triton ends or must be ended; why.

        TritonFailed if it has never been ready, unless the reason may pass and few starts were made.
        """
        ended = asyncio.ensure_future(self._triton.wait())
        dead = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait((ended, dead), return_when=asyncio.FIRST_COMPLETED)
            exit_code = ended.result() if ended.done() else None
            symptom = "" if ended.done() else dead.result()
        finally:
            ended.cancel()
            dead.cancel()
        if self._first:
            failure = self.failed(exit_code, symptom)
            await self._triton.kill()
            if not failure.may_pass or self._first_starts >= FIRST_STARTS:
                raise failure
            return str(failure)
        what = f"is killed: {symptom}" if exit_code is None else f"ended with code {exit_code}"
        words = self._triton.last_words()
        await self._triton.kill()
        if self._lost_at is None:
            self._lost_at = self._clock()
        return f"Triton (pid {self._triton.pid}) {what}; its last words:\n{words}"

    async def _watch(self) -> str:
        """Looks until Triton is judged dead; why."""
        held: list[str] = []
        while self._judgement.alive:
            look = await self._look(self._judgement.proved)
            changes = self._judgement.judge(look, self._clock())
            if self._stub_is_lost():
                return "a Python stub has ended, and Triton waits for it"
            if self._is_out_of_space():
                return NO_ADDRESS_SPACE
            if self._first and self._is_hopeless():
                return self._judgement.why
            for text in held:
                self._say(text)
            # That all is well is told for the gateway and all its models together.
            told = [change for change in changes if self._was_ready or not change.good]
            lines = [f"{change.sign} Triton (pid {self._triton.pid}): {change.text}" for change in told]
            self._note_readiness()
            # Until the first is ready, what is wrong is told once it is clear that it does not end the start.
            held = lines if self._first else []
            for text in () if self._first else lines:
                self._say(text)
            await self._sleep(self._pause_between_looks())
        return self._judgement.why

    def _stub_is_lost(self) -> bool:
        """Whether Triton waits for a stub that has ended: it does so for ever, before it answers anything."""
        now = self._clock()
        self._lost = {pid: self._lost.get(pid, now) for pid in self._triton.lost_stubs()}
        lost = any(now - since >= LOST_SECONDS for since in self._lost.values())
        return lost and not self._judgement.heard

    def _is_out_of_space(self) -> bool:
        """Whether Triton waits for a thread that it cannot create, before it answers anything."""
        now = self._clock()
        if self._judgement.heard or not self._triton.lacks_address_space():
            self._no_space_since = None
        elif self._no_space_since is None:
            self._no_space_since = now
        return self._no_space_since is not None and now - self._no_space_since >= NO_SPACE_SECONDS

    def _is_hopeless(self) -> bool:
        """Whether no model will be right: Triton answers so, or its log says so before it answers."""
        return self._judgement.hopeless or (not self._judgement.heard and self._triton.has_lost_all())

    def _pause_between_looks(self) -> float:
        if not self._judgement.heard:
            return STARTING_SECONDS
        return min(self._judgement.pause, FIRST_START_SECONDS) if self._first else self._judgement.pause

    def _note_readiness(self) -> None:
        now = self._clock()
        if not self.ready:
            self._ready_since = None
        elif self._ready_since is None:
            self._was_ready, self._first, self._ready_since = True, False, now
            if self._lost_at is not None:
                self._say(f"✓ Triton (pid {self._triton.pid}) is back after {now - self._lost_at:.1f} s")
                self._lost_at = None

    def _next_pause(self) -> float:
        if self._ready_since is not None and self._clock() - self._ready_since >= GOOD_SECONDS:
            self._pause = FIRST_PAUSE
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause
