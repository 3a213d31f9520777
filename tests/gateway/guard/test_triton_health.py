"""The policy, look by look: what puts a Triton out of service, what brings it back, and when it must die."""

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


def found(image: int | None = None, *, text: int = 0, **findings: CanaryResult) -> ProbeResult:
    """A look that found this of models; `image` and `text`: inputs that demo's towers have finished."""
    counts = {} if image is None else {"demo_image": image, "demo_text": text}
    return ProbeResult(True, canaries=findings, completed=counts)


class Watch:
    """A health, and a look every five seconds."""

    def __init__(self, **settings: Any) -> None:
        self.health = TritonHealth(GuardSettings(**settings))
        self.now = 1000.0
        self.told: list[str] = []

    def see(self, *looks: ProbeResult) -> Watch:
        for look in looks:
            self.told += [change.text for change in self.health.update(look, self.now)]
            self.now += PAUSE
        return self

    @property
    def ready(self) -> bool:
        return self.health.ready

    def dies_after(self, look: ProbeResult) -> float | None:
        """Seconds that it takes to count as dead if every look is like that; None if it never does."""
        begin = self.now
        for _ in range(300):
            self.see(look)
            if not self.health.alive:
                return self.now - PAUSE - begin
        return None


def test_nothing_is_ready_before_the_first_look_and_nothing_is_dead():
    health = TritonHealth(GuardSettings())
    assert (health.ready, health.alive, health.why) == (False, True, "nothing is known yet")


def test_slow_models_are_looked_at_less_often_while_all_is_well():
    slow = CanaryResult(Outcome.RIGHT, seconds=0.2)
    watch = Watch().see(found(1, demo=slow))
    assert watch.health.pause == pytest.approx(20)
    assert watch.see(found(1, demo=MISSING)).health.pause == PAUSE
    assert watch.see(found(1, demo=slow)).health.pause == pytest.approx(20)
    busy = watch.see(found(2, demo=MISSING)).health
    assert (busy.why, busy.pause) == ("", PAUSE), "that it works is all that is known"
    assert Watch(canary_seconds=2).see(found(demo=slow)).health.pause == 2


UNLOADED = ProbeResult(True, unready={"demo": "Triton cannot load demo_image"})


@pytest.mark.parametrize(
    "looks", [[UNLOADED], [NOBODY, UNLOADED], [ProbeResult(True)], [found(demo=WRONG)] * 2]
)
def test_there_is_no_hope_for_models_that_are_not_loaded_or_answer_wrong_from_the_beginning(looks):
    health = Watch().see(*looks).health
    assert health.cannot_serve
    assert health.alive, "a restart would not help"


@pytest.mark.parametrize(
    "looks",
    [
        [NOBODY] * 5,
        [found(demo=WRONG)],
        [found(demo=MISSING)] * 5,
        [found(demo=BUSY)] * 5,
        [found(demo=WRONG), found(demo=MISSING), found(demo=WRONG)],
        [found(demo=RIGHT), *[found(demo=WRONG)] * 5],
        [found(demo=RIGHT), UNLOADED],
        [ProbeResult(True, canaries={"demo": RIGHT}, unready={"other": "bad"})],
        [ProbeResult(True, canaries={"demo": MISSING}, unready={"other": "bad"})] * 3,
    ],
)
def test_there_is_hope_for_models_that_were_right_or_have_yet_to_answer(looks):
    assert not Watch().see(*looks).health.cannot_serve


@pytest.mark.parametrize("fine", [RIGHT, UNKNOWN])
def test_one_right_look_is_enough(fine):
    assert Watch().see(found(demo=fine)).ready


def test_a_wrong_answer_puts_it_out_at_once_and_a_right_one_brings_it_back_at_once():
    watch = Watch().see(found(demo=RIGHT), found(demo=WRONG))
    assert not watch.ready
    assert "cosine 0.31" in watch.health.why
    assert watch.see(found(demo=RIGHT)).ready
    assert watch.health.why == ""


@pytest.mark.parametrize("nothing", [found(demo=MISSING), found(demo=BUSY), NOBODY])
def test_answers_must_be_missing_several_times_in_a_row(nothing):
    watch = Watch(canary_misses=2).see(found(demo=RIGHT), nothing)
    assert watch.ready
    assert not watch.see(nothing).ready
    assert watch.see(found(demo=RIGHT), nothing).ready, "counted from the beginning"


@pytest.mark.parametrize("silence", [MISSING, BUSY])
def test_silence_is_excused_while_the_tower_finishes_other_inputs(silence):
    watch = Watch().see(found(10, demo=RIGHT))
    for count in range(11, 200):
        assert watch.see(found(count, demo=silence)).ready
    assert watch.health.alive
    assert watch.told == ["model demo answers as recorded"]
    assert not watch.see(found(199, demo=silence), found(199, demo=silence)).ready, "no longer excused"


def test_progress_of_the_other_tower_excuses_nothing():
    watch = Watch().see(found(10, text=10, demo=RIGHT))
    assert not watch.see(found(10, text=11, demo=MISSING), found(10, text=12, demo=MISSING)).ready


def test_progress_excuses_a_triton_that_is_late_itself():
    watch = Watch().see(found(10, demo=RIGHT))
    for count in range(11, 50):
        watch.see(ProbeResult(False, "late", completed={"demo_image": 10, "demo_text": count}))
    assert watch.ready
    assert watch.health.alive


def test_progress_brings_back_a_model_that_was_only_silent():
    watch = Watch().see(found(10, demo=RIGHT), *[found(10, demo=MISSING)] * 2)
    assert not watch.ready
    assert watch.see(found(11, demo=MISSING)).ready
    assert watch.told[-1] == "model demo makes progress again"


def test_progress_is_no_excuse_for_wrong_answers():
    watch = Watch().see(found(10, demo=RIGHT), found(11, demo=WRONG), found(12, demo=MISSING))
    assert not watch.ready
    assert watch.dies_after(found(13, demo=MISSING)) is not None


def test_progress_proves_nothing_of_a_model_that_was_never_right():
    watch = Watch().see(*(found(count, demo=MISSING) for count in range(50)))
    assert not watch.ready
    assert watch.health.alive


@pytest.mark.parametrize("bad", [found(demo=WRONG), found(demo=MISSING), found(demo=BUSY), NOBODY])
def test_what_was_right_and_is_not_for_long_must_die_and_may_recover(bad):
    watch = Watch(restart_after_seconds=60).see(found(demo=RIGHT))
    assert watch.dies_after(bad) in (55, 60), "counted from the first bad look, or from the last answer"
    assert watch.see(found(demo=RIGHT)).health.alive


@pytest.mark.parametrize("silence", [found(demo=MISSING), NOBODY])
def test_what_is_still_in_service_is_no_reason_to_die(silence):
    watch = Watch(canary_misses=100, restart_after_seconds=60).see(found(demo=RIGHT))
    assert watch.dies_after(silence) == 99 * PAUSE


def test_trouble_that_changes_its_kind_is_one_trouble():
    watch = Watch(restart_after_seconds=60).see(found(demo=RIGHT), *[found(demo=WRONG)] * 6)
    assert watch.dies_after(found(demo=MISSING)) == 30
    assert watch.health.why == "model demo does not answer, for 60 s: demo_image: late"


def test_one_model_that_was_right_and_is_not_is_reason_enough():
    watch = Watch().see(found(demo=RIGHT, twin=RIGHT), found(demo=WRONG, twin=RIGHT))
    assert not watch.ready
    assert watch.dies_after(found(demo=WRONG, twin=RIGHT)) is not None


@pytest.mark.parametrize("bad", [WRONG, MISSING])
def test_a_model_that_was_never_right_takes_the_others_nothing_away(bad):
    watch = Watch().see(*[found(demo=bad, twin=RIGHT)] * 2)
    assert watch.ready
    assert watch.health.models == {"demo": False, "twin": True}
    assert watch.dies_after(found(demo=bad, twin=RIGHT)) is None


def test_wrong_from_the_beginning_is_out_of_service_and_no_reason_for_a_restart():
    watch = Watch()
    assert watch.dies_after(found(demo=WRONG)) is None
    assert not watch.ready
    assert watch.told == ["model demo answers wrong: demo_image: cosine 0.31; it was never right"]


def test_models_that_do_not_load_are_no_reason_for_a_restart():
    watch = Watch()
    assert watch.dies_after(ProbeResult(True, unready={"demo": "Triton has not loaded it"})) is None
    assert not watch.ready
    assert watch.told == ["model demo is not served yet: Triton has not loaded it"]


def test_a_model_that_loads_is_not_called_wrong_and_one_that_cannot_load_is():
    loading = ProbeResult(True, unready={"demo": "Triton has not loaded it"})
    failed = ProbeResult(True, unready={"demo": "Triton cannot load demo_image: no file"})
    health, now = TritonHealth(GuardSettings()), 0.0
    told = []
    for look in [loading] * 3 + [failed] * 3 + [found(demo=RIGHT)]:
        told += health.update(look, now)
        now += PAUSE
    assert [(it.good, it.waits) for it in told] == [(False, True), (False, False), (True, False)]
    assert "never right" not in told[0].text
    assert told[1].text.endswith("Triton cannot load demo_image: no file; it has not answered yet")


def test_a_model_that_was_right_and_is_loaded_no_more_is_a_fault():
    watch = Watch().see(found(demo=RIGHT, twin=RIGHT))
    gone = ProbeResult(True, canaries={"twin": RIGHT}, unready={"demo": "Triton has not loaded it"})
    assert not watch.see(gone, gone).ready


def test_a_model_that_is_gone_from_the_repository_is_forgotten():
    watch = Watch().see(found(demo=RIGHT, twin=RIGHT), *[found(demo=WRONG, twin=RIGHT)] * 3)
    assert watch.see(found(twin=RIGHT)).ready
    assert watch.health.models == {"twin": True}


def test_a_triton_without_models_is_not_ready_and_may_live():
    watch = Watch()
    assert watch.dies_after(ProbeResult(True)) is None
    assert (watch.ready, watch.health.why) == (False, "Triton serves no model")


@pytest.mark.parametrize("silence", [NOBODY, found(demo=MISSING)])
def test_a_triton_that_begins_is_given_time(silence):
    watch = Watch(startup_seconds=180)
    assert watch.dies_after(silence) == 180


def test_a_triton_that_answers_late_in_its_start_is_given_no_more_time_after_that():
    watch = Watch(startup_seconds=180, restart_after_seconds=60).see(*[NOBODY] * 30, found(demo=WRONG))
    assert watch.dies_after(NOBODY) == 55


def test_a_triton_that_tells_its_counts_has_answered():
    watch = Watch().see(found(10, demo=WRONG))
    assert watch.dies_after(ProbeResult(False, "late", completed={"demo_image": 10})) is None


def test_what_is_loaded_anew_is_judged_anew():
    watch = Watch().see(found(200, demo=RIGHT), *[NOBODY] * 20)
    assert not watch.health.alive
    assert watch.see(found(106, demo=WRONG)).health.alive
    assert watch.dies_after(found(107, demo=WRONG)) is None, "a restart did not cure it"


def test_the_look_that_sees_it_loaded_anew_proves_nothing():
    """Its answer may have come from what was there before."""
    watch = Watch().see(found(200, demo=RIGHT), found(106, demo=RIGHT))
    assert watch.ready
    assert watch.dies_after(found(107, demo=WRONG)) is None


def test_a_model_is_proved_by_a_right_answer_since_it_was_loaded_until_it_is_not_right():
    watch = Watch()
    assert watch.health.healthy_since_load == set()
    steps = [
        (found(100, demo=RIGHT, twin=WRONG), {"demo"}),
        (found(90, demo=RIGHT, twin=RIGHT), {"twin"}),
        (found(91, demo=RIGHT, twin=CanaryResult(Outcome.MISSING, "late", "twin_image")), {"demo"}),
        (found(91, demo=WRONG, twin=RIGHT), {"twin"}),
    ]
    for look, proved in steps:
        assert watch.see(look).health.healthy_since_load == proved


def test_the_look_that_sees_it_loaded_anew_ends_no_waiting_either():
    watch = Watch(startup_seconds=180).see(found(200, demo=RIGHT), found(106, demo=RIGHT))
    assert watch.dies_after(found(106, demo=MISSING)) == 175


def test_a_triton_that_begins_anew_is_given_time_anew():
    watch = Watch(startup_seconds=180).see(found(200, demo=RIGHT), *[NOBODY] * 20)
    assert watch.dies_after(found(106, demo=MISSING)) == 180


def test_a_model_that_is_loaded_anew_leaves_the_others_as_they_were():
    counts = {"demo_image": 10, "twin_image": 10}
    watch = Watch().see(ProbeResult(True, canaries={"demo": RIGHT, "twin": RIGHT}, completed=counts))
    anew = ProbeResult(True, canaries={"demo": WRONG, "twin": RIGHT}, completed=counts | {"demo_image": 1})
    assert watch.see(anew).ready, "demo is a bad export now"
    assert not watch.see(ProbeResult(True, canaries={"demo": WRONG, "twin": WRONG}, completed=counts)).ready


def test_changes_are_told_once_and_with_what_differs():
    watch = Watch().see(*[found(demo=RIGHT)] * 3, *[found(demo=WRONG)] * 3, *[found(demo=MISSING)] * 3)
    watch.see(*[found(demo=RIGHT)] * 3)
    assert watch.told == [
        "model demo answers as recorded",
        "model demo answers wrong: demo_image: cosine 0.31; it was right before",
        "model demo does not answer: demo_image: late; it was right before",
        "model demo answers as recorded",
    ]


def test_why_says_how_long_each_trouble_lasts():
    watch = Watch().see(found(demo=RIGHT, twin=WRONG), *[found(demo=WRONG, twin=WRONG)] * 3)
    assert watch.health.why == (
        "model demo answers wrong, for 10 s: demo_image: cosine 0.31; "
        "model twin answers wrong, for 15 s: demo_image: cosine 0.31"
    )


anything = st.sampled_from([RIGHT, UNKNOWN, WRONG, MISSING, BUSY])
looks = st.one_of(
    st.just(NOBODY),
    st.builds(
        lambda findings, image, text: found(image, text=text, **findings),
        st.dictionaries(st.sampled_from(["demo", "twin"]), anything),
        st.none() | st.integers(0, 20),
        st.integers(0, 20),
    ),
)


@given(st.lists(looks, max_size=30))
@settings(deadline=None)
def test_whatever_was_a_reason_is_given_and_right_answers_mend_all(history):
    watch = Watch(restart_after_seconds=20, startup_seconds=20)
    for look in history:
        watch.see(look)
        if not (watch.ready and watch.health.alive):
            assert watch.health.why
        answered = {name: it.outcome for name, it in look.canaries.items()}
        for name, good in watch.health.models.items():
            if answered.get(name) is Outcome.WRONG:
                assert not good
    watch.see(found(demo=RIGHT, twin=RIGHT))
    assert (watch.ready, watch.health.alive, watch.health.why) == (True, True, "")
