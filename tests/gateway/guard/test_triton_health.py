"""The policy, probe by probe: what makes a Triton unready, what makes it ready, and when it must restart."""

from __future__ import annotations

from typing import Any

import pytest
from clipserve_gateway.guard.probe import ProbeResult
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.guard.triton_health import TritonHealth
from clipserve_gateway.triton.canary import CanaryResult, Outcome
from hypothesis import given, settings
from hypothesis import strategies as st

PAUSE = 5.0
RIGHT = CanaryResult(Outcome.RIGHT)
UNKNOWN = CanaryResult(Outcome.UNKNOWN, "exported without a canary")
WRONG = CanaryResult(Outcome.WRONG, "demo_image: cosine 0.31", "demo_image")
MISSING = CanaryResult(Outcome.MISSING, "demo_image: late", "demo_image")
BUSY = CanaryResult(Outcome.BUSY, "demo_image: the queue is full", "demo_image")
NOBODY = ProbeResult(False, "Triton did not answer in time")


def probe(image: int | None = None, *, text: int = 0, **findings: CanaryResult) -> ProbeResult:
    """A probe with these canary results; `image` and `text`: inputs that demo's towers have finished."""
    counts = {} if image is None else {"demo_image": image, "demo_text": text}
    return ProbeResult(True, canaries=findings, completed=counts)


class Watched:
    """The health of a Triton that is probed every five seconds."""

    def __init__(self, **settings: Any) -> None:
        self.health = TritonHealth(GuardSettings(**settings))
        self.now = 1000.0
        self.told: list[str] = []

    def see(self, *probes: ProbeResult) -> Watched:
        for probe_result in probes:
            self.told += [change.text for change in self.health.update(probe_result, self.now)]
            self.now += PAUSE
        return self

    @property
    def ready(self) -> bool:
        return self.health.ready

    def dies_after(self, probe_result: ProbeResult) -> float | None:
        """Seconds that it takes to count as dead if every probe gives this result; None if it never does."""
        begin = self.now
        for _ in range(300):
            self.see(probe_result)
            if not self.health.alive:
                return self.now - PAUSE - begin
        return None


def test_nothing_is_ready_before_the_first_probe_and_nothing_is_dead():
    health = TritonHealth(GuardSettings())
    assert (health.ready, health.alive, health.why) == (False, True, "nothing is known yet")


def test_slow_models_are_probed_less_often_while_all_is_well():
    slow = CanaryResult(Outcome.RIGHT, seconds=0.2)
    watch = Watched().see(probe(1, demo=slow))
    assert watch.health.pause == pytest.approx(20)
    assert watch.see(probe(1, demo=MISSING)).health.pause == PAUSE
    assert watch.see(probe(1, demo=slow)).health.pause == pytest.approx(20)
    busy = watch.see(probe(2, demo=MISSING)).health
    assert (busy.why, busy.pause) == ("", PAUSE), "progress says nothing about the duration"
    assert Watched(canary_seconds=2).see(probe(demo=slow)).health.pause == 2


UNLOADED = ProbeResult(True, unready={"demo": "Triton cannot load demo_image"})


@pytest.mark.parametrize(
    "probes", [[UNLOADED], [NOBODY, UNLOADED], [ProbeResult(True)], [probe(demo=WRONG)] * 2]
)
def test_models_that_are_not_loaded_or_wrong_from_the_start_cannot_serve(probes):
    health = Watched().see(*probes).health
    assert health.cannot_serve
    assert health.alive, "a restart would not help"


@pytest.mark.parametrize(
    "probes",
    [
        [NOBODY] * 5,
        [probe(demo=WRONG)],
        [probe(demo=MISSING)] * 5,
        [probe(demo=BUSY)] * 5,
        [probe(demo=WRONG), probe(demo=MISSING), probe(demo=WRONG)],
        [probe(demo=RIGHT), *[probe(demo=WRONG)] * 5],
        [probe(demo=RIGHT), UNLOADED],
        [ProbeResult(True, canaries={"demo": RIGHT}, unready={"other": "bad"})],
        [ProbeResult(True, canaries={"demo": MISSING}, unready={"other": "bad"})] * 3,
    ],
)
def test_models_that_were_right_or_have_not_answered_yet_may_still_serve(probes):
    assert not Watched().see(*probes).health.cannot_serve


@pytest.mark.parametrize("fine", [RIGHT, UNKNOWN])
def test_one_right_result_is_enough(fine):
    assert Watched().see(probe(demo=fine)).ready


def test_a_wrong_answer_puts_it_out_at_once_and_a_right_one_brings_it_back_at_once():
    watch = Watched().see(probe(demo=RIGHT), probe(demo=WRONG))
    assert not watch.ready
    assert "cosine 0.31" in watch.health.why
    assert watch.see(probe(demo=RIGHT)).ready
    assert watch.health.why == ""


@pytest.mark.parametrize("nothing", [probe(demo=MISSING), probe(demo=BUSY), NOBODY])
def test_answers_must_be_missing_several_times_in_a_row(nothing):
    watch = Watched(canary_misses=2).see(probe(demo=RIGHT), nothing)
    assert watch.ready
    assert not watch.see(nothing).ready
    assert watch.see(probe(demo=RIGHT), nothing).ready, "counted from the beginning"


@pytest.mark.parametrize("silence", [MISSING, BUSY])
def test_silence_is_excused_while_the_tower_finishes_other_inputs(silence):
    watch = Watched().see(probe(10, demo=RIGHT))
    for count in range(11, 200):
        assert watch.see(probe(count, demo=silence)).ready
    assert watch.health.alive
    assert watch.told == ["model demo answers as recorded"]
    assert not watch.see(probe(199, demo=silence), probe(199, demo=silence)).ready, "no longer excused"


def test_progress_of_the_other_tower_excuses_nothing():
    watch = Watched().see(probe(10, text=10, demo=RIGHT))
    assert not watch.see(probe(10, text=11, demo=MISSING), probe(10, text=12, demo=MISSING)).ready


def test_progress_excuses_a_triton_that_is_late_itself():
    watch = Watched().see(probe(10, demo=RIGHT))
    for count in range(11, 50):
        watch.see(ProbeResult(False, "late", completed={"demo_image": 10, "demo_text": count}))
    assert watch.ready
    assert watch.health.alive


def test_progress_brings_back_a_model_that_was_only_silent():
    watch = Watched().see(probe(10, demo=RIGHT), *[probe(10, demo=MISSING)] * 2)
    assert not watch.ready
    assert watch.see(probe(11, demo=MISSING)).ready
    assert watch.told[-1] == "model demo makes progress again"


def test_progress_is_no_excuse_for_wrong_answers():
    watch = Watched().see(probe(10, demo=RIGHT), probe(11, demo=WRONG), probe(12, demo=MISSING))
    assert not watch.ready
    assert watch.dies_after(probe(13, demo=MISSING)) is not None


def test_progress_is_no_excuse_for_a_model_that_was_never_right():
    watch = Watched().see(*(probe(count, demo=MISSING) for count in range(50)))
    assert not watch.ready
    assert watch.health.alive


@pytest.mark.parametrize("bad", [probe(demo=WRONG), probe(demo=MISSING), probe(demo=BUSY), NOBODY])
def test_a_model_that_was_right_and_is_not_for_long_makes_a_restart_necessary(bad):
    watch = Watched(restart_after_seconds=60).see(probe(demo=RIGHT))
    assert watch.dies_after(bad) in (55, 60), "counted from the first bad result, or from the last answer"
    assert watch.see(probe(demo=RIGHT)).health.alive


@pytest.mark.parametrize("silence", [probe(demo=MISSING), NOBODY])
def test_a_model_that_is_still_in_service_is_no_reason_for_a_restart(silence):
    watch = Watched(canary_misses=100, restart_after_seconds=60).see(probe(demo=RIGHT))
    assert watch.dies_after(silence) == 99 * PAUSE


def test_wrong_and_then_missing_answers_are_one_trouble():
    watch = Watched(restart_after_seconds=60).see(probe(demo=RIGHT), *[probe(demo=WRONG)] * 6)
    assert watch.dies_after(probe(demo=MISSING)) == 30
    assert watch.health.why == "model demo does not answer, for 60 s: demo_image: late"


def test_one_model_of_two_that_was_right_and_is_not_is_enough_for_a_restart():
    watch = Watched().see(probe(demo=RIGHT, twin=RIGHT), probe(demo=WRONG, twin=RIGHT))
    assert not watch.ready
    assert watch.dies_after(probe(demo=WRONG, twin=RIGHT)) is not None


@pytest.mark.parametrize("bad", [WRONG, MISSING])
def test_a_model_that_was_never_right_does_not_affect_the_others(bad):
    watch = Watched().see(*[probe(demo=bad, twin=RIGHT)] * 2)
    assert watch.ready
    assert watch.health.models == {"demo": False, "twin": True}
    assert watch.dies_after(probe(demo=bad, twin=RIGHT)) is None


def test_wrong_from_the_beginning_is_out_of_service_and_no_reason_for_a_restart():
    watch = Watched()
    assert watch.dies_after(probe(demo=WRONG)) is None
    assert not watch.ready
    assert watch.told == ["model demo answers wrong: demo_image: cosine 0.31; it was never right"]


def test_models_that_do_not_load_are_no_reason_for_a_restart():
    watch = Watched()
    assert watch.dies_after(ProbeResult(True, unready={"demo": "Triton has not loaded it"})) is None
    assert not watch.ready
    assert watch.told == ["model demo is not served yet: Triton has not loaded it"]


def test_a_model_that_loads_is_not_called_wrong_and_one_that_cannot_load_is():
    loading = ProbeResult(True, unready={"demo": "Triton has not loaded it"})
    failed = ProbeResult(True, unready={"demo": "Triton cannot load demo_image: no file"})
    health, now = TritonHealth(GuardSettings()), 0.0
    told = []
    for probe_result in [loading] * 3 + [failed] * 3 + [probe(demo=RIGHT)]:
        told += health.update(probe_result, now)
        now += PAUSE
    assert [(it.good, it.waits) for it in told] == [(False, True), (False, False), (True, False)]
    assert "never right" not in told[0].text
    assert told[1].text.endswith("Triton cannot load demo_image: no file; it has not answered yet")


def test_a_model_that_was_right_and_is_not_loaded_any_more_is_a_fault():
    watch = Watched().see(probe(demo=RIGHT, twin=RIGHT))
    gone = ProbeResult(True, canaries={"twin": RIGHT}, unready={"demo": "Triton has not loaded it"})
    assert not watch.see(gone, gone).ready


def test_a_model_that_is_gone_from_the_repository_is_forgotten():
    watch = Watched().see(probe(demo=RIGHT, twin=RIGHT), *[probe(demo=WRONG, twin=RIGHT)] * 3)
    assert watch.see(probe(twin=RIGHT)).ready
    assert watch.health.models == {"twin": True}


def test_a_triton_without_models_is_not_ready_and_is_not_restarted():
    watch = Watched()
    assert watch.dies_after(ProbeResult(True)) is None
    assert (watch.ready, watch.health.why) == (False, "Triton serves no model")


@pytest.mark.parametrize("silence", [NOBODY, probe(demo=MISSING)])
def test_a_triton_that_starts_has_time_to_answer(silence):
    watch = Watched(startup_seconds=180)
    assert watch.dies_after(silence) == 180


def test_a_triton_that_answers_late_in_its_start_has_no_more_time_after_that():
    watch = Watched(startup_seconds=180, restart_after_seconds=60).see(*[NOBODY] * 30, probe(demo=WRONG))
    assert watch.dies_after(NOBODY) == 55


def test_a_triton_that_reports_its_counts_has_answered():
    watch = Watched().see(probe(10, demo=WRONG))
    assert watch.dies_after(ProbeResult(False, "late", completed={"demo_image": 10})) is None


def test_earlier_answers_do_not_count_after_a_reload():
    watch = Watched().see(probe(200, demo=RIGHT), *[NOBODY] * 20)
    assert not watch.health.alive
    assert watch.see(probe(106, demo=WRONG)).health.alive
    assert watch.dies_after(probe(107, demo=WRONG)) is None, "a restart did not cure it"


def test_the_answer_of_the_probe_that_notices_a_reload_does_not_count():
    """It may be the last answer of the old model."""
    watch = Watched().see(probe(200, demo=RIGHT), probe(106, demo=RIGHT))
    assert watch.ready
    assert watch.dies_after(probe(107, demo=WRONG)) is None


def test_a_model_is_healthy_since_its_load_after_a_right_answer_and_until_a_bad_one():
    watch = Watched()
    assert watch.health.healthy_since_load == set()
    steps = [
        (probe(100, demo=RIGHT, twin=WRONG), {"demo"}),
        (probe(90, demo=RIGHT, twin=RIGHT), {"twin"}),
        (probe(91, demo=RIGHT, twin=CanaryResult(Outcome.MISSING, "late", "twin_image")), {"demo"}),
        (probe(91, demo=WRONG, twin=RIGHT), {"twin"}),
    ]
    for probe_result, healthy in steps:
        assert watch.see(probe_result).health.healthy_since_load == healthy


def test_the_probe_that_notices_a_reload_does_not_end_the_time_to_start():
    watch = Watched(startup_seconds=180).see(probe(200, demo=RIGHT), probe(106, demo=RIGHT))
    assert watch.dies_after(probe(106, demo=MISSING)) == 175


def test_a_triton_that_starts_again_has_time_to_answer_again():
    watch = Watched(startup_seconds=180).see(probe(200, demo=RIGHT), *[NOBODY] * 20)
    assert watch.dies_after(probe(106, demo=MISSING)) == 180


def test_a_reload_of_one_model_does_not_affect_the_others():
    counts = {"demo_image": 10, "twin_image": 10}
    watch = Watched().see(ProbeResult(True, canaries={"demo": RIGHT, "twin": RIGHT}, completed=counts))
    anew = ProbeResult(True, canaries={"demo": WRONG, "twin": RIGHT}, completed=counts | {"demo_image": 1})
    assert watch.see(anew).ready, "demo is a bad export now"
    assert not watch.see(ProbeResult(True, canaries={"demo": WRONG, "twin": WRONG}, completed=counts)).ready


def test_changes_are_told_once_and_with_what_differs():
    watch = Watched().see(*[probe(demo=RIGHT)] * 3, *[probe(demo=WRONG)] * 3, *[probe(demo=MISSING)] * 3)
    watch.see(*[probe(demo=RIGHT)] * 3)
    assert watch.told == [
        "model demo answers as recorded",
        "model demo answers wrong: demo_image: cosine 0.31; it was right before",
        "model demo does not answer: demo_image: late; it was right before",
        "model demo answers as recorded",
    ]


def test_why_says_how_long_each_trouble_lasts():
    watch = Watched().see(probe(demo=RIGHT, twin=WRONG), *[probe(demo=WRONG, twin=WRONG)] * 3)
    assert watch.health.why == (
        "model demo answers wrong, for 10 s: demo_image: cosine 0.31; "
        "model twin answers wrong, for 15 s: demo_image: cosine 0.31"
    )


anything = st.sampled_from([RIGHT, UNKNOWN, WRONG, MISSING, BUSY])
probes = st.one_of(
    st.just(NOBODY),
    st.builds(
        lambda findings, image, text: probe(image, text=text, **findings),
        st.dictionaries(st.sampled_from(["demo", "twin"]), anything),
        st.none() | st.integers(0, 20),
        st.integers(0, 20),
    ),
)


@given(st.lists(probes, max_size=30))
@settings(deadline=None)
def test_whatever_happened_there_is_a_reason_and_right_answers_end_it(history):
    watch = Watched(restart_after_seconds=20, startup_seconds=20)
    for probe_result in history:
        watch.see(probe_result)
        if not (watch.ready and watch.health.alive):
            assert watch.health.why
        answered = {name: canary.outcome for name, canary in probe_result.canaries.items()}
        for name, good in watch.health.models.items():
            if answered.get(name) is Outcome.WRONG:
                assert not good
    watch.see(probe(demo=RIGHT, twin=RIGHT))
    assert (watch.ready, watch.health.alive, watch.health.why) == (True, True, "")
