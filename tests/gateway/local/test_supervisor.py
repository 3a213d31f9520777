"""A Triton that ends, or is judged dead, is started again; with a process and a clock that are not real."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from clipserve_gateway.guard.probe import ProbeResult
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.local.diagnosis import Diagnosis
from clipserve_gateway.local.supervisor import Supervisor
from clipserve_gateway.local.triton_process import TritonFailed, TritonProcess
from clipserve_gateway.triton.canary import CanaryResult, Outcome

GOOD = ProbeResult(True, canaries={"demo": CanaryResult(Outcome.RIGHT)})
BAD = ProbeResult(True, canaries={"demo": CanaryResult(Outcome.WRONG, "demo_image: cosine 0.31")})
NOBODY = ProbeResult(False, "nobody there")
SETTINGS = GuardSettings(canary_seconds=5, restart_after_seconds=60, startup_seconds=180)


class Clock:
    """Advances when `sleep` is awaited."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class FakeProgress:
    """The load of a Triton that has worked until some moment, and has lines for the user."""

    loading = "demo_image"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.begin = clock.now
        self.works_until = 0.0
        self.lines: list[str] = []

    @property
    def idle_seconds(self) -> float:
        return max(0.0, self.clock.now - max(self.begin, self.works_until))

    def look(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


class FakeProcess(TritonProcess):
    """A process that is not real: ends when told, and counts its starts in `pid`."""

    log = Path("/tmp/triton.log")
    pid = 0

    progress = FakeProgress(Clock())  # type: ignore[assignment]

    def __init__(self) -> None:
        self.killed = 0
        self.lost: dict[int, int] = {}
        self.load_failed = False
        self.no_space = False
        self.explains = True
        self.may_pass = False
        self.broken: Exception | None = None
        self._ended: asyncio.Future[int]

    async def start(self) -> None:
        if self.broken:
            raise self.broken
        self.pid += 1
        self._ended = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def die(self, code: int) -> None:
        self._ended.set_result(code)

    async def kill(self) -> None:
        self.killed += 1
        if not self._ended.done():
            self._ended.set_result(-9)

    def last_words(self, lines: int = 12) -> str:
        return f"the words of {self.pid}"

    def lost_stubs(self) -> dict[int, int]:
        return self.lost

    def lacks_address_space(self) -> bool:
        return self.no_space

    def has_lost_all(self) -> bool:
        return self.load_failed

    def diagnose(self, exit_code: int | None, symptom: str) -> Diagnosis:
        cause = f"exit code {exit_code}: {symptom}."
        return Diagnosis(cause, "Mend it.", known=self.explains, transient=self.may_pass)


class Play:
    """A supervisor with a fake process and clock. `scene` gives the result of each probe, and may end the
    process."""

    def __init__(self, scene: Callable[[Play], ProbeResult]) -> None:
        self.clock = Clock()
        self.triton = FakeProcess()
        self.said: list[str] = []
        self.starts: list[float] = []
        self.healthy: list[tuple[object, ...]] = []
        """At each probe: the process, and the models for which it may reuse results of canaries."""
        self._scene = scene
        self._start = self.triton.start
        self.triton.start = self._noted_start  # type: ignore[method-assign]
        self.supervisor = Supervisor(
            self.triton,
            self._probe,
            SETTINGS,
            say=self.said.append,
            clock=lambda: self.clock.now,
            sleep=self.clock.sleep,
        )

    async def _noted_start(self) -> None:
        self.starts.append(self.clock.now)
        self.triton.progress = FakeProgress(self.clock)
        await self._start()

    async def _probe(self, healthy: Collection[str]) -> ProbeResult:
        self.healthy.append((self.triton.pid, *healthy))
        return self._scene(self)

    @property
    def pauses(self) -> list[float]:
        """The pauses before each restart, as they were said."""
        return [float(it) for line in self.said for it in re.findall(r"again in ([\d.]+) s", line)]

    async def run(self, seconds: float) -> None:
        """Runs for so many seconds of the fake clock."""
        running = asyncio.create_task(self.supervisor.run())
        end = self.clock.now + seconds
        while self.clock.now < end and not running.done():
            await asyncio.sleep(0)
        if running.done():
            running.result()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_model_is_asked_by_the_supervisor_itself_until_it_was_right_since_each_start():
    def scene(play: Play) -> ProbeResult:
        if play.triton.pid == 1 and play.clock.now >= 12:
            play.triton.die(-11)
        return GOOD

    play = Play(scene)
    await play.run(30)
    for process in (1, 2):
        first, *later = [healthy for pid, *healthy in play.healthy if pid == process]
        assert first == []
        assert later
        assert all(healthy == list(GOOD.canaries) for healthy in later)


async def test_one_that_dies_is_started_again_and_people_are_told():
    def scene(play: Play) -> ProbeResult:
        if play.triton.pid == 1 and play.clock.now >= 20:
            play.triton.die(-11)
        return NOBODY if play.triton.pid == 2 and play.clock.now < 40 else GOOD

    play = Play(scene)
    await play.run(60)
    assert play.triton.pid == 2
    assert play.said[0] == "· Triton (pid 1) loads its models; its log: /tmp/triton.log"
    assert play.said[1] == (
        "✗ Triton (pid 1) ended with code -11; its last words:\nthe words of 1\n"
        "· Triton is started again in 0.5 s"
    )
    assert play.said[2].startswith("· Triton (pid 2) loads its models")
    assert re.fullmatch(r"✓ Triton \(pid 2\) is back after 1\d\.\d s", play.said[3])
    assert len(play.said) == 4
    assert play.triton.killed == 1, "what it left behind is cleared away"


async def test_pauses_double_up_to_half_a_minute():
    def scene(play: Play) -> ProbeResult:
        play.triton.die(1)
        return GOOD

    play = Play(scene)
    await play.run(300)
    assert play.pauses[:9] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


async def test_a_good_minute_makes_the_first_pause_short_again():
    def scene(play: Play) -> ProbeResult:
        lived = play.clock.now - play.starts[-1]
        if lived >= (10 if play.triton.pid < 4 else 70):
            play.triton.die(1)
        return GOOD

    play = Play(scene)
    await play.run(400)
    assert play.pauses[:5] == [0.5, 1, 2, 0.5, 0.5]


async def test_a_minute_that_was_not_good_does_not():
    def scene(play: Play) -> ProbeResult:
        lived = play.clock.now - play.starts[-1]
        if lived >= 70:
            play.triton.die(1)
        return BAD if 30 <= lived < 40 else GOOD

    play = Play(scene)
    await play.run(400)
    assert play.pauses[:3] == [0.5, 1, 2]


async def test_one_that_answers_wrong_for_long_is_killed_and_started_again():
    def scene(play: Play) -> ProbeResult:
        return BAD if play.triton.pid == 1 and play.clock.now >= 20 else GOOD

    play = Play(scene)
    await play.run(150)
    assert play.triton.pid == 2
    assert play.starts[1] == pytest.approx(20 + 60, abs=6)
    assert (
        "✗ Triton (pid 1): model demo answers wrong: demo_image: cosine 0.31; it was right before"
        in play.said
    )
    assert any("(pid 1) is killed: model demo answers wrong, for 60 s" in line for line in play.said)


async def test_one_that_does_not_answer_is_killed_and_started_again():
    play = Play(lambda play: NOBODY if play.triton.pid == 1 and play.clock.now >= 20 else GOOD)
    await play.run(150)
    assert play.triton.pid == 2
    assert any("(pid 1) is killed: model demo does not answer" in line for line in play.said)


async def test_one_that_recovers_in_time_lives_on_and_people_are_told():
    play = Play(lambda play: BAD if 20 <= play.clock.now < 50 else GOOD)
    await play.run(200)
    assert play.triton.pid == 1
    assert play.said[-1] == "✓ Triton (pid 1): model demo answers as recorded"


async def test_a_restart_that_cures_nothing_is_not_repeated():
    def scene(play: Play) -> ProbeResult:
        return GOOD if play.triton.pid == 1 and play.clock.now < 20 else BAD

    play = Play(scene)
    await play.run(1000)
    assert play.triton.pid == 2


async def test_a_restarted_one_that_does_not_begin_is_given_the_time_of_a_start():
    def scene(play: Play) -> ProbeResult:
        return {1: died, 2: lambda _: NOBODY, 3: lambda _: GOOD}[play.triton.pid](play)

    play = Play(scene)
    await play.run(300)
    assert play.triton.pid == 3
    assert play.starts[2] - play.starts[1] == pytest.approx(180 + 1, abs=1)


def died(play: Play) -> ProbeResult:
    """It was good, and then it was no more."""
    play.triton.die(1)
    return GOOD


@pytest.mark.parametrize("error", [TritonFailed("no models there"), OSError("no memory")])
async def test_what_cannot_be_started_just_now_is_tried_again(error):
    def scene(play: Play) -> ProbeResult:
        if play.triton.pid == 1:
            play.triton.broken = error
            return died(play)
        return GOOD

    play = Play(scene)
    await play.run(30)
    assert play.triton.pid == 1
    assert f"✗ {error}\n· Triton is started again in 4 s" in play.said
    play.triton.broken = None
    assert play.pauses[:4] == [0.5, 1, 2, 4]


async def test_what_could_not_be_started_is_back_once_it_can_be():
    def scene(play: Play) -> ProbeResult:
        return died(play) if play.triton.pid == 1 else GOOD

    play = Play(scene)
    sound = play.triton.start

    async def start() -> None:
        play.triton.broken = OSError("no memory") if 1 < play.clock.now < 20 else None
        await sound()

    play.triton.start = start  # type: ignore[method-assign]
    await play.run(60)
    assert play.triton.pid == 2
    assert re.search(r"Triton \(pid 2\) is back after [\d.]+ s", play.said[-1])


LOST = ProbeResult(True, unready={"demo": "Triton cannot load demo_image: no such file"})


@pytest.mark.parametrize("looks", [[NOBODY, NOBODY], [NOBODY, BAD]])
async def test_a_first_one_that_ends_before_it_is_ready_ends_all_with_cause_remedy_and_log(looks):
    def scene(play: Play) -> ProbeResult:
        look = looks.pop(0)
        if not looks:
            play.triton.die(1)
        return look

    expected = r"^exit code 1: .*\.\n· Mend it\.\n· Triton's log: /tmp/triton\.log$"
    with pytest.raises(TritonFailed, match=expected) as failed:
        await Play(scene).run(60)
    assert failed.value.diagnosis.known


async def test_a_first_one_that_fails_for_a_reason_which_may_pass_is_started_again():
    def scene(play: Play) -> ProbeResult:
        if play.triton.pid == 1:
            play.triton.die(-6)
        return NOBODY if play.triton.pid == 1 else GOOD

    play = Play(scene)
    play.triton.may_pass = True
    await play.run(20)
    assert play.triton.pid == 2
    assert play.supervisor.ready
    assert play.pauses == [0.5]
    assert "exit code -6" in play.said[1]


@pytest.mark.parametrize(("lasting_from", "starts"), [(9, 3), (2, 2)])
async def test_a_first_one_is_given_up_after_three_such_starts_or_one_that_fails_otherwise(
    lasting_from, starts
):
    def scene(play: Play) -> ProbeResult:
        play.triton.may_pass = play.triton.pid < lasting_from
        play.triton.die(-6)
        return NOBODY

    play = Play(scene)
    with pytest.raises(TritonFailed, match="exit code -6"):
        await play.run(60)
    assert len(play.starts) == starts


async def test_the_log_is_quoted_only_where_it_explains_nothing():
    def scene(play: Play) -> ProbeResult:
        play.triton.die(1)
        return NOBODY

    play = Play(scene)
    play.triton.explains = False
    with pytest.raises(TritonFailed, match=r"· its last words:\nthe words of 1$"):
        await play.run(60)


async def test_a_first_one_that_never_answers_ends_all():
    play = Play(lambda play: NOBODY)
    symptom = "exit code None: Triton has made no progress for 18[01] s while it loads demo_image"
    with pytest.raises(TritonFailed, match=symptom):
        await play.run(1000)
    assert play.clock.now == pytest.approx(180, abs=1)
    assert play.triton.killed == 1


async def test_a_triton_may_load_as_long_as_it_makes_progress():
    def scene(play: Play) -> ProbeResult:
        play.triton.progress.works_until = min(play.clock.now, 1000)
        return NOBODY

    play = Play(scene)
    with pytest.raises(TritonFailed, match="no progress for 18"):
        await play.run(3000)
    assert play.clock.now == pytest.approx(1180, abs=1)


async def test_work_after_the_first_answer_is_no_progress_of_the_load():
    def scene(play: Play) -> ProbeResult:
        play.triton.progress.works_until = play.clock.now
        return GOOD if play.clock.now < 20 else NOBODY

    play = Play(scene)
    await play.run(100)
    assert play.triton.pid > 1, "it hangs and works, and was started again"


async def test_people_are_told_what_is_loaded_until_triton_answers():
    def scene(play: Play) -> ProbeResult:
        play.triton.progress.lines = [f"· at {play.clock.now:.1f} s"]
        return GOOD if play.clock.now > 0.5 else NOBODY

    play = Play(scene)
    await play.run(10)
    assert [line for line in play.said if "· at" in line] == ["· at 0.0 s", "· at 0.3 s"]


@pytest.mark.parametrize(("look", "seconds"), [(LOST, 5.5), (ProbeResult(True), 5.5), (BAD, 7)])
async def test_a_first_one_whose_models_are_all_lost_ends_all_at_once_and_is_told_once(look, seconds):
    play = Play(lambda play: NOBODY if play.clock.now < 5 else look)
    with pytest.raises(TritonFailed):
        await play.run(100)
    assert play.clock.now <= seconds
    assert len(play.said) == 1, "that the models load"
    assert play.triton.killed == 1


async def test_a_first_one_whose_log_says_that_all_models_are_lost_ends_all_before_it_answers():
    def scene(play: Play) -> ProbeResult:
        play.triton.load_failed = play.clock.now >= 5
        return NOBODY

    play = Play(scene)
    with pytest.raises(TritonFailed):
        await play.run(100)
    assert play.clock.now <= 5.5


async def test_a_first_one_that_waits_for_a_stub_which_has_ended_ends_all():
    def scene(play: Play) -> ProbeResult:
        play.triton.lost = {7: -9} if play.clock.now >= 5 else {}
        return NOBODY

    play = Play(scene)
    with pytest.raises(TritonFailed, match="a Python stub has ended"):
        await play.run(100)
    assert 8 <= play.clock.now <= 9


async def test_a_first_one_without_address_space_for_another_thread_ends_all():
    def scene(play: Play) -> ProbeResult:
        play.triton.no_space = play.clock.now >= 5
        return NOBODY

    play = Play(scene)
    with pytest.raises(TritonFailed, match="used up its address space"):
        await play.run(100)
    assert 10 <= play.clock.now <= 11


async def test_one_that_answers_or_finds_address_space_again_ends_nothing():
    def scene(play: Play) -> ProbeResult:
        play.triton.no_space = play.clock.now < 4 or 8 <= play.clock.now < 12 or play.clock.now > 20
        return NOBODY if play.clock.now < 20 else GOOD

    await Play(scene).run(60)


async def test_stubs_that_end_and_are_noticed_by_triton_end_nothing():
    def scene(play: Play) -> ProbeResult:
        play.triton.lost = {int(play.clock.now): 1}
        return NOBODY if play.clock.now < 20 else GOOD

    await Play(scene).run(60)


async def test_a_bad_neighbour_of_a_good_model_is_told_and_does_not_end_the_start():
    both = ProbeResult(True, canaries=GOOD.canaries, unready={"other": "Triton cannot load other_text: bad"})
    play = Play(lambda play: NOBODY if play.clock.now < 5 else both)
    await play.run(60)
    assert play.triton.pid == 1
    assert any("✗ Triton (pid 1): model other does not answer: Triton cannot" in line for line in play.said)


async def test_a_slow_first_answer_ends_nothing_beside_a_model_that_is_lost():
    slow = CanaryResult(Outcome.MISSING, "demo_image: late")
    late = ProbeResult(True, canaries={"demo": slow}, unready={"other": "Triton cannot load other_text"})
    play = Play(lambda play: late if play.clock.now < 30 else GOOD)
    await play.run(60)
    assert play.triton.pid == 1


async def test_a_restarted_one_whose_models_are_lost_for_the_moment_does_not_end_all():
    def scene(play: Play) -> ProbeResult:
        if play.triton.pid == 1:
            return died(play) if play.clock.now > 10 else GOOD
        return LOST if play.clock.now < 50 else GOOD

    play = Play(scene)
    await play.run(100)
    assert play.triton.pid == 2


async def test_what_cannot_be_started_at_first_ends_all_with_a_sentence():
    play = Play(lambda play: NOBODY)
    play.triton.broken = OSError("no space")
    with pytest.raises(TritonFailed, match="Triton cannot be started: no space"):
        await play.run(60)


async def test_it_can_be_cancelled_at_any_moment():
    """Before the first answer, between looks, and in the pause before a restart."""
    for seconds in range(12):
        await Play(lambda play: died(play) if play.clock.now > 3 else GOOD).run(seconds)
