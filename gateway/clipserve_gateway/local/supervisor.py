"""Keeps a Triton running: starts it again when it ends, and when its models make a restart necessary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

from clipserve_gateway.guard.probe import ProbeResult
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.guard.triton_health import TritonHealth
from clipserve_gateway.local.diagnosis_rules import NO_ADDRESS_SPACE, NO_PROGRESS
from clipserve_gateway.local.triton_process import LAST_WORDS_OF_A_START, TritonFailed, TritonProcess

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the first restart, and at most: each failure doubles the pause."""
GOOD_SECONDS = 60.0
"""After this time of being ready, the next restart comes after the first pause again."""
STARTING_SECONDS = 0.3
"""Pause between probes of a Triton that has not answered yet."""
FIRST_STARTS = 3
"""Starts until the first Triton is ready, if each fails for a reason that may not occur again."""
FIRST_START_SECONDS = 1.0
"""Longest pause between probes until the first Triton is ready: the user waits for it."""
LOST_STUB_SECONDS = 3.0
"""If Triton, while it loads, has not noticed for this time that a Python stub has ended, it never will."""
NO_SPACE_SECONDS = 5.0
"""If Triton, while it loads, has had no address space for another thread for this time, it waits forever.

The Python backend's thread pool deadlocks when a thread cannot be created.
"""


class Supervisor:
    """Runs one Triton until it is cancelled."""

    def __init__(
        self,
        triton: TritonProcess,
        probe: Callable[[Collection[str]], Awaitable[ProbeResult]],
        settings: GuardSettings,
        *,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`probe` probes the running Triton. For the models that it is given, it may reuse the results of
        canaries that the gateway has run. `say` prints a line for the user."""
        self._triton = triton
        self._probe = probe
        self._settings = settings
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._health = TritonHealth(settings)
        self._was_ready = False
        """Since the last start."""
        self._loading = True
        """Triton has not answered since the last start: it answers after it has tried to load all models."""
        self._first = True
        """No Triton has been ready yet."""
        self._first_starts = 0
        self._lost_stubs: dict[int, float] = {}
        """When each stub was first seen to have ended, by pid."""
        self._no_space_since: float | None = None
        self._ready_since: float | None = None
        self._failed_at: float | None = None
        """When Triton failed; None while it is ready."""
        self._pause = FIRST_PAUSE

    @property
    def ready(self) -> bool:
        """Whether callers may be sent to this Triton."""
        return self._health.ready

    def failed(self, exit_code: int | None = None, symptom: str = "") -> TritonFailed:
        """Why the first Triton is not ready, and what to do: three lines for the user."""
        diagnosis = self._triton.diagnose(exit_code, symptom or self._health.why)
        lines = [diagnosis.cause, f"· {diagnosis.remedy}", f"· Triton's log: {self._triton.log}"]
        if not diagnosis.known:
            lines += ["· its last words:", self._triton.last_words(LAST_WORDS_OF_A_START)]
        return TritonFailed("\n".join(lines), diagnosis)

    async def run(self) -> None:
        """Starts Triton, and again whenever it fails. Raises TritonFailed if the first is never ready."""
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
        self._health = TritonHealth(self._settings)
        self._was_ready, self._loading, self._ready_since = False, True, None
        self._lost_stubs, self._no_space_since = {}, None
        self._first_starts += self._first
        await self._triton.start()
        self._say(f"· Triton (pid {self._triton.pid}) loads its models; its log: {self._triton.log}")

    async def _failure(self) -> str:
        """Waits until Triton ends or must be killed; returns the reason.

        Raises TritonFailed if no Triton has been ready yet, unless another start may succeed.
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
        last_words = self._triton.last_words()
        await self._triton.kill()
        if self._failed_at is None:
            self._failed_at = self._clock()
        return f"Triton (pid {self._triton.pid}) {what}; its last words:\n{last_words}"

    async def _watch(self) -> str:
        """Probes until Triton must be killed; returns the reason."""
        held: list[str] = []
        while self._health.alive:
            result = await self._probe(self._health.healthy_since_load)
            self._loading &= not result.answered
            if self._loading:
                self._follow_load()
            changes = self._health.update(result, self._clock())
            if reason := self._start_failure():
                return reason
            for line in held:
                self._say(line)
            # When the service is ready, one line says so for the gateway and all models.
            told = [change for change in changes if self._was_ready or not change.good]
            lines = [f"{change.sign} Triton (pid {self._triton.pid}): {change.text}" for change in told]
            self._note_readiness()
            # During the first start, lines wait for the next probe: a failed start would repeat them.
            held = lines if self._first else []
            for line in () if self._first else lines:
                self._say(line)
            await self._sleep(self._pause_between_probes())
        if self._loading:
            progress = self._triton.progress
            return f"{NO_PROGRESS} for {progress.idle_seconds:.0f} s while it loads {progress.loading}"
        return self._health.why

    def _follow_load(self) -> None:
        """Tells the user what Triton has loaded, and gives it more time if it works."""
        progress = self._triton.progress
        for line in progress.look():
            self._say(line)
        self._health.count_from(self._clock() - progress.idle_seconds)

    def _start_failure(self) -> str:
        """Why the start of Triton cannot succeed; empty if it still can."""
        health, now = self._health, self._clock()
        lost = self._triton.lost_stubs()
        self._lost_stubs = {pid: self._lost_stubs.get(pid, now) for pid in lost}
        if health.has_answered or not self._triton.lacks_address_space():
            self._no_space_since = None
        elif self._no_space_since is None:
            self._no_space_since = now
        if not health.has_answered:
            if any(now - since >= LOST_STUB_SECONDS for since in self._lost_stubs.values()):
                return "a Python stub has ended, and Triton waits for it"
            if self._no_space_since is not None and now - self._no_space_since >= NO_SPACE_SECONDS:
                return NO_ADDRESS_SPACE
        if not self._first:
            return ""
        # Triton's log names the models that it cannot load before Triton answers.
        all_failed = health.cannot_serve or (not health.has_answered and self._triton.has_lost_all())
        return health.why if all_failed else ""

    def _pause_between_probes(self) -> float:
        if not self._health.has_answered:
            return STARTING_SECONDS
        return min(self._health.pause, FIRST_START_SECONDS) if self._first else self._health.pause

    def _note_readiness(self) -> None:
        now = self._clock()
        if not self.ready:
            self._ready_since = None
        elif self._ready_since is None:
            self._was_ready, self._first, self._ready_since = True, False, now
            if self._failed_at is not None:
                self._say(f"✓ Triton (pid {self._triton.pid}) is back after {now - self._failed_at:.1f} s")
                self._failed_at = None

    def _next_pause(self) -> float:
        if self._ready_since is not None and self._clock() - self._ready_since >= GOOD_SECONDS:
            self._pause = FIRST_PAUSE
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause
