"""A model that is exported again: replicas switch to the new version without a failed call."""

from __future__ import annotations

import pytest
from clipserve_gateway import errors
from clipserve_gateway.triton.model_config import parse_model
from clipserve_gateway.types import ModelSpec

from testing.fleet import Fleet

NEW = "e" * 64


async def swapping(fleet: Fleet) -> ModelSpec:
    """Both replicas serve version 5; its specification as Models has it."""
    await fleet.refresh()
    for fake in fleet.both:
        fake.load("5")
    await fleet.refresh()
    return await in_service(fleet)


async def in_service(fleet: Fleet) -> ModelSpec:
    """The version that the pool tells."""
    return parse_model(*await fleet.pool.towers(["fake_image", "fake_text"], 1.0))


async def test_a_new_version_is_in_service_once_both_towers_answer_right_and_the_old_one_until_then():
    fleet = Fleet()
    old = await swapping(fleet)
    for tower in ("image", "text"):
        for fake in fleet.both:
            fake.load("5", "6", only=tower, fingerprint=NEW)
            fake.asked.clear()
        assert await in_service(fleet) == old
        await fleet.ask(old)
        index = await fleet.refresh()
        assert index["fake_image"], "ready all the while"
    new = await in_service(fleet)
    assert (new.version, new.fingerprint) == ("6", NEW)
    for fake in fleet.both:
        fake.asked.clear()
    await fleet.ask(new)
    await fleet.ask(old)
    asked = sorted(fleet.both[0].asked + fleet.both[1].asked)
    assert asked == ["5", "6"], "each request names its version"
    assert fleet.ok(1) == fleet.ok(2) == 1


async def test_a_request_for_a_version_that_is_gone_is_unavailable_and_never_answered_by_other_weights():
    fleet = Fleet()
    old = await swapping(fleet)
    for fake in fleet.both:
        fake.load("6", fingerprint=NEW)
    # Before anybody has noticed, and after.
    for _ in range(2):
        with pytest.raises(errors.ModelUnavailable):
            await fleet.ask(old)
        await fleet.refresh()
    assert (await in_service(fleet)).version == "6"


async def test_a_new_version_that_answers_wrong_is_not_taken_and_the_log_says_so(caplog):
    fleet = Fleet()
    old = await swapping(fleet)
    for fake in fleet.both:
        fake.wrong = {"6"}
        fake.load("5", "6", fingerprint=NEW)
    await fleet.refresh()
    await fleet.rerun_canaries()
    assert await in_service(fleet) == old
    assert fleet.ok(1) == 1
    told = [record.message for record in caplog.records if "does not go into service" in record.message]
    assert len(told) == 2, "once by each replica"
    assert "version 6 of model fake" in told[0]
    for fake in fleet.both:
        fake.wrong = set()
    await fleet.rerun_canaries()
    assert (await in_service(fleet)).version == "6"


async def test_while_replicas_switch_one_after_the_other_all_of_them_serve():
    fleet = Fleet()
    old = await swapping(fleet)
    first, second = fleet.both
    first.load("5", "6", fingerprint=NEW)
    await fleet.refresh()
    await fleet.refresh()
    assert await in_service(fleet) == old, "as many have the one as the other: nothing changes yet"
    for fake in fleet.both:
        fake.calls = 0
    for _ in range(4):
        await fleet.ask(old)
    assert first.calls == second.calls == 2
    second.load("5", "6", fingerprint=NEW)
    await fleet.refresh()
    assert (await in_service(fleet)).version == "6"


async def test_replicas_with_exports_of_their_own_of_one_model_all_serve():
    fleet = Fleet()
    await fleet.refresh()
    first, second = fleet.both
    first.load("5")
    second.load("7")
    await fleet.refresh()
    spec = await in_service(fleet)
    first.asked.clear()
    second.asked.clear()
    for _ in range(4):
        await fleet.ask(spec)
    assert set(first.asked) == {"5"}
    assert set(second.asked) == {"7"}


async def test_another_precision_of_the_same_weights_is_a_version_of_its_own():
    fleet = Fleet()
    old = await swapping(fleet)
    for fake in fleet.both:
        fake.load("5", "6", precision="bf16")
    await fleet.refresh()
    new = await in_service(fleet)
    assert (old.fingerprint, old.precision) == (new.fingerprint, "fp32")
    assert (new.version, new.precision) == ("6", "bf16")
    for fake in fleet.both:
        fake.asked.clear()
    await fleet.ask(old)
    assert "6" not in [it for fake in fleet.both for it in fake.asked], "one request is of one version"
    for fake in fleet.both:
        fake.load("6", precision="bf16")
    await fleet.refresh()
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask(old)
