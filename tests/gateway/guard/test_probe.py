"""The probe of a Triton: results of canaries, models that are not ready, and what Triton counts."""

from __future__ import annotations

import asyncio

import numpy as np
from clipserve_gateway import errors
from clipserve_gateway.guard.probe import Probe, ProbeResult
from clipserve_gateway.triton.canary import CanaryResult, Outcome
from clipserve_gateway.types import Floats

from testing.fakes import FakeBackend, FakeEncoder, FakeTriton, canary_parameters, towers

COUNTS = {"fake_image": 7, "fake_text": 9}


def counting(source: FakeTriton | None = None, encoder: FakeEncoder | None = None) -> FakeBackend:
    """A fake Triton that counts."""
    triton = FakeBackend(source, encoder)
    triton.counts = COUNTS
    return triton


async def test_ready_models_have_results_and_the_others_a_reason():
    source = FakeTriton(
        *towers(), *towers(model="half"), *towers(model="unloaded"), *towers(model="bad", embed_dim="many")
    )
    source.ready |= {"half_text": False, "unloaded_image": False, "unloaded_text": False, "other": True}
    result = await Probe(counting(source), 1.0).run()
    assert result.answered
    assert [(name, canary.outcome) for name, canary in result.canaries.items()] == [("fake", Outcome.UNKNOWN)]
    assert result.unready.keys() == {"half", "unloaded", "bad"}
    assert "embed_dim" in result.unready["bad"]
    assert result.completed == COUNTS


async def test_while_a_model_is_exported_again_the_version_before_counts():
    source = FakeTriton(*towers(model_version="5"))
    probe = Probe(counting(source), 1.0)
    assert (await probe.run()).canaries.keys() == {"fake"}
    for tower in towers(model_version="6", fingerprint="0" * 64):
        source.found[tower.triton_name] = tower
        source.loaded[tower.triton_name] = frozenset({"5", "6"})
        result = await probe.run()
        assert (result.canaries.keys(), result.unready) == ({"fake"}, {})
    assert probe.versions.current["fake"].spec.version == "6"


async def test_a_new_version_that_answers_wrong_is_no_reason_to_restart_what_serves_the_old_one():
    source = FakeTriton(*towers(model_version="5"))
    probe = Probe(counting(source), 1.0)
    await probe.run()
    wrong = canary_parameters() | {"canary_text_embedding": canary_parameters()["canary_image_embedding"]}
    for tower in towers(model_version="6", fingerprint="0" * 64, **wrong):
        source.found[tower.triton_name] = tower
        source.loaded[tower.triton_name] = frozenset({"5", "6"})
    result = await probe.run()
    assert result.canaries["fake"].outcome is Outcome.UNKNOWN, "of the old one, which has no canary"
    assert probe.versions.current["fake"].spec.version == "5"


async def test_what_triton_says_of_a_model_that_it_cannot_load_is_told_in_one_line():
    source = FakeTriton(*towers(), *towers(model="broken"))
    source.ready |= {"broken_image": False, "lone_text": False}
    triton = counting(source)
    triton.failures = {
        "broken_image": "Internal: RuntimeError: file\nis damaged\n\nAt:\n  /model.py(45): load\n"
    }
    result = await Probe(triton, 1.0).run()
    assert result.unready == {
        "broken": "Triton cannot load broken_image: Internal: RuntimeError: file is damaged",
        "lone": "the repository has no lone_image",
    }


async def test_a_triton_whose_models_are_all_ready_is_not_asked_why_not():
    triton = counting()
    triton.load_failures = None  # type: ignore[assignment]
    assert (await Probe(triton, 1.0).run()).answered


async def test_a_triton_that_does_not_answer_says_so_and_no_more():
    triton = counting()
    triton.source.error = triton.counts = errors.ModelUnavailable("nobody there")
    result = await Probe(triton, 1.0).run()
    assert result == ProbeResult(False, "nobody there")


async def test_a_triton_that_is_late_is_still_asked_for_its_counts():
    triton = counting()
    triton.source.error = errors.DeadlineExceeded("the deadline passed during encode")
    result = await Probe(triton, 1.0).run()
    assert (result.answered, result.detail) == (False, "Triton did not answer in time")
    assert result.completed == COUNTS


async def test_counts_that_are_not_told_do_not_spoil_the_probe():
    triton = counting()
    triton.counts = errors.DeadlineExceeded("late")
    result = await Probe(triton, 1.0).run()
    assert result.answered
    assert result.completed == {}


async def test_each_canary_run_is_reported_with_its_time():
    runs = []
    await Probe(counting(), 1.0, lambda *run: runs.append(run)).run()
    [(name, result)] = runs
    assert (name, result.outcome) == ("fake", Outcome.UNKNOWN)
    assert result.seconds > 0


async def test_a_canary_is_not_run_if_there_is_a_result_to_reuse():
    source = FakeTriton(*towers(), *towers(model="twin"))
    reusable, runs = CanaryResult(Outcome.RIGHT, seconds=0.2), []
    probe = Probe(counting(source), 1.0, lambda name, _: runs.append(name))
    result = await probe.run(lambda spec: reusable if spec.name == "twin" else None)
    assert result.canaries["twin"] is reusable
    assert result.canaries["fake"].outcome is Outcome.UNKNOWN
    assert runs == ["fake"]


class Meeting(FakeEncoder):
    """Answers once three models are asked at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.all_here = asyncio.Event()
        self.asked = 0

    async def _answer(self, batch: np.ndarray, found: np.ndarray) -> Floats:
        self.asked += 1
        if self.asked == 3:
            self.all_here.set()
        await self.all_here.wait()
        return await super()._answer(batch, found)


async def test_the_canaries_of_all_models_run_at_the_same_time():
    names = ("fake", "twin", "third")
    source = FakeTriton(*(tower for name in names for tower in towers(model=name, **canary_parameters())))
    result = await asyncio.wait_for(Probe(counting(source, Meeting()), 60.0).run(), 30)
    assert {name: canary.outcome for name, canary in result.canaries.items()} == dict.fromkeys(
        names, Outcome.RIGHT
    )
