"""Why a model is not served: what operators read, for each cause."""

from __future__ import annotations

import re

import pytest
from clipserve_gateway import errors
from clipserve_gateway.triton.unready import LOADING, LONGEST_REASON, unready_reason

from testing.fakes import towers
from testing.fleet import Fleet

BOTH = {"fake_image": frozenset({"1"}), "fake_text": frozenset({"1"})}


def reason(index: dict[str, frozenset[str]], failures: dict[str, str] | None = None, **changes: str) -> str:
    configs = {tower.triton_name: tower for tower in towers(**changes)}
    return unready_reason("fake", index, failures or {}, configs)


def test_a_tower_that_is_not_there_is_named() -> None:
    assert reason({"fake_image": frozenset({"1"})}) == "the repository has no fake_text"


def test_tritons_reason_is_given_without_its_traceback_and_short() -> None:
    failures = {"fake_text": "Internal:\n  no  weights\n\nAt:\n  model.py(9): initialize"}
    assert reason(BOTH, failures) == "Triton cannot load fake_text: Internal: no weights"
    assert len(reason(BOTH, {"fake_text": "x" * 999})) < LONGEST_REASON + 50


def test_a_configuration_of_another_version_than_the_loaded_one_is_named() -> None:
    assert reason(BOTH, model_version="7") == (
        "the configuration of fake_image describes version 7, and Triton has loaded 1"
    )


def test_without_a_reason_triton_is_loading_the_model() -> None:
    assert reason({"fake_image": frozenset(), "fake_text": frozenset({"1"})}) == LOADING


async def test_each_replica_says_why_a_model_is_not_in_service(fleet: Fleet) -> None:
    first, second = fleet.both
    assert fleet.pool.why_unready("fake") == ""
    second.wrong.add("fake")
    await fleet.rerun_canaries()
    assert re.match(
        r"replica 127\.0\.0\.1:2: it answers wrong: fake_\w+: cosine ", fleet.pool.why_unready("fake")
    )
    assert fleet.pool.why_unready("other") == ""
    first.away = second.away = True
    with pytest.raises(errors.ServerUnavailable):
        await fleet.refresh()
    assert fleet.pool.why_unready("fake") == "no Triton answers"


async def test_a_bad_configuration_and_a_failed_load_are_reasons(fleet: Fleet) -> None:
    for fake in fleet.both:
        fake.found |= {tower.triton_name: tower for tower in towers(model="bad", embed_dim="many")}
        fake.ready |= {"bad_image": True, "bad_text": True, "new_image": True, "new_text": False}
        fake.found |= {tower.triton_name: tower for tower in towers(model="new")}
        fake.failures = {"new_text": "no memory"}
    await fleet.refresh()
    where = "replica 127.0.0.1:1: "
    refusal = "bad_image: parameter embed_dim is not a finite number"
    assert fleet.pool.why_unready("bad") == f"{where}{refusal}"
    assert fleet.pool.why_unready("new") == f"{where}Triton cannot load new_text: no memory"


async def test_queues_of_removed_models_are_forgotten(fleet: Fleet) -> None:
    await fleet.ask()
    assert [name for name, _ in fleet.pool._queues] == ["fake"]
    for fake in fleet.both:
        del fake.ready["fake_image"], fake.ready["fake_text"]
    await fleet.refresh()
    assert fleet.pool._queues == fleet.pool._batchers == {}
    assert all("fake" not in replica.versions._had for replica in fleet.pool._replicas.values())
