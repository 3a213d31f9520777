"""A look at a Triton: which models were examined, which could not be, and what Triton counts."""

from __future__ import annotations

import time

from clipserve_gateway import errors
from clipserve_gateway.guard.probe import look_at
from clipserve_gateway.guard.triton_health import Look
from clipserve_gateway.triton.canary import Finding, Verdict
from clipserve_gateway.triton.model_versions import ModelVersions

from testing.fakes import FakeBackend, FakeEncoder, FakeTriton, known_parameters, towers

COUNTS = {"fake_image": 7, "fake_text": 9}


def counting(source: FakeTriton | None = None, encoder: FakeEncoder | None = None) -> FakeBackend:
    """A fake Triton that counts."""
    triton = FakeBackend(source, encoder)
    triton.counts = COUNTS
    return triton


async def test_ready_models_are_examined_and_the_others_are_named_with_what_is_wrong():
    source = FakeTriton(
        *towers(), *towers(model="half"), *towers(model="unloaded"), *towers(model="bad", embed_dim="many")
    )
    source.ready |= {"half_text": False, "unloaded_image": False, "unloaded_text": False, "other": True}
    look = await look_at(counting(source), 1.0)
    assert look.answered
    assert [(name, it.verdict) for name, it in look.examined.items()] == [("fake", Verdict.UNKNOWN)]
    assert look.unready.keys() == {"half", "unloaded", "bad"}
    assert "embed_dim" in look.unready["bad"]
    assert look.completed == COUNTS


async def test_while_a_model_is_exported_again_the_version_before_counts():
    source, versions = FakeTriton(*towers(model_version="5")), ModelVersions()
    triton = counting(source)

    async def look() -> Look:
        return await look_at(triton, 1.0, versions=versions)

    assert (await look()).examined.keys() == {"fake"}
    for tower in towers(model_version="6", fingerprint="0" * 64):
        source.found[tower.triton_name] = tower
        source.loaded[tower.triton_name] = frozenset({"5", "6"})
        looked = await look()
        assert (looked.examined.keys(), looked.unready) == ({"fake"}, {})
    assert versions.current["fake"].spec.version == "6"


async def test_a_new_version_that_answers_wrong_is_no_reason_to_restart_what_serves_the_old_one():
    source, versions = FakeTriton(*towers(model_version="5")), ModelVersions()
    triton = counting(source)
    await look_at(triton, 1.0, versions=versions)
    wrong = known_parameters() | {"canary_text_embedding": known_parameters()["canary_image_embedding"]}
    for tower in towers(model_version="6", fingerprint="0" * 64, **wrong):
        source.found[tower.triton_name] = tower
        source.loaded[tower.triton_name] = frozenset({"5", "6"})
    looked = await look_at(triton, 1.0, versions=versions)
    assert looked.examined["fake"].verdict is Verdict.UNKNOWN, "of the old one, which has no canary"
    assert versions.current["fake"].spec.version == "5"


async def test_what_triton_says_of_a_model_that_it_cannot_load_is_told_in_one_line():
    source = FakeTriton(*towers(), *towers(model="broken"))
    source.ready |= {"broken_image": False, "lone_text": False}
    triton = counting(source)
    triton.failures = {
        "broken_image": "Internal: RuntimeError: file\nis damaged\n\nAt:\n  /model.py(45): load\n"
    }
    look = await look_at(triton, 1.0)
    assert look.unready == {
        "broken": "Triton cannot load broken_image: Internal: RuntimeError: file is damaged",
        "lone": "the repository has no lone_image",
    }


async def test_a_triton_whose_models_are_all_ready_is_not_asked_why_not():
    triton = counting()
    triton.load_failures = None  # type: ignore[assignment]
    assert (await look_at(triton, 1.0)).answered


async def test_a_triton_that_does_not_answer_says_so_and_no_more():
    triton = counting()
    triton.source.error = triton.counts = errors.ModelUnavailable("nobody there")
    look = await look_at(triton, 1.0)
    assert (look.answered, look.detail, look.examined, look.completed) == (False, "nobody there", {}, {})


async def test_a_triton_that_is_late_is_still_asked_for_its_counts():
    triton = counting()
    triton.source.error = errors.DeadlineExceeded("the deadline passed during encode")
    look = await look_at(triton, 1.0)
    assert (look.answered, look.detail) == (False, "Triton did not answer in time")
    assert look.completed == COUNTS


async def test_counts_that_are_not_told_do_not_spoil_the_look():
    triton = counting()
    triton.counts = errors.DeadlineExceeded("late")
    look = await look_at(triton, 1.0)
    assert look.answered
    assert look.completed == {}


async def test_each_examination_is_reported_with_its_time():
    heard = []
    await look_at(counting(), 1.0, lambda *examined: heard.append(examined))
    [(name, finding, seconds)] = heard
    assert (name, finding.verdict) == ("fake", Verdict.UNKNOWN)
    assert 0 <= seconds < 1


async def test_what_somebody_else_has_found_right_is_not_asked_again():
    source = FakeTriton(*towers(), *towers(model="twin"))
    found, heard = Finding(Verdict.RIGHT, seconds=0.2), []
    look = await look_at(
        counting(source),
        1.0,
        lambda name, *_: heard.append(name),
        recent=lambda spec: found if spec.name == "twin" else None,
    )
    assert look.examined["twin"] is found
    assert look.examined["fake"].verdict is Verdict.UNKNOWN
    assert heard == ["fake"]


async def test_all_models_together_take_no_longer_than_one_look_may():
    source = FakeTriton(*towers(), *towers(model="twin"), *towers(model="third"))
    begin = time.monotonic()
    look = await look_at(counting(source, FakeEncoder(delay=0.2)), 5.0)
    assert len(look.examined) == 3
    assert time.monotonic() - begin < 0.6
