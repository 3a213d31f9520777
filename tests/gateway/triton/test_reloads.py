"""Models that are replaced, added and removed many times leave nothing in memory."""

from __future__ import annotations

import gc
from collections import Counter

from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.triton.canary import inputs_of
from clipserve_gateway.triton.model_config import parse_model
from clipserve_gateway.triton.models import Models

from testing.fakes import canary_parameters, no_one, towers
from testing.fleet import PICTURE, Fleet

RELOADS, WARM = 50, 10
"""Reloads that are measured, and those before, which fill what is bounded."""


def objects() -> Counter[str]:
    """The objects of the gateway's own classes and of its metrics, by class."""
    # These keep what they have parsed, up to a number.
    parse_model.cache_clear()
    inputs_of.cache_clear()
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    return Counter(
        kind.__qualname__ for kind in kinds if str(kind.__module__).startswith(("clipserve", "prometheus"))
    )


async def reload(fleet: Fleet, models: Models, number: int) -> None:
    """A new version of `fake` with other weights, and another model that comes, is called and goes."""
    guest = f"guest{number}"
    for fake in fleet.both:
        fake.load(str(number), fingerprint=f"{number:064x}")
        for tower in towers(model=guest, **canary_parameters()):
            fake.found[tower.triton_name], fake.ready[tower.triton_name] = tower, True
    await models.refresh()
    await models.refresh()
    for name in ("fake", guest):
        await fleet.pool.encode(models.get(name), "image", PICTURE, Deadline.after(5))
        fleet.metrics.requests.labels("Embed", "OK", name).inc()
    assert models.get("fake").version == str(number)
    for fake in fleet.both:
        for tower in ("image", "text"):
            del fake.ready[f"{guest}_{tower}"], fake.found[f"{guest}_{tower}"]
    await models.refresh()


async def test_fifty_reloads_leave_no_object_and_no_series_behind(fleet: Fleet, monkeypatch) -> None:
    monkeypatch.setattr("clipserve_gateway.triton.models.LATE_SECONDS", 0.0)
    models = Models(fleet.pool, default="fake", poll_seconds=1, metrics=fleet.metrics, on_change=no_one)
    for number in range(1, WARM + 1):
        await reload(fleet, models, number)
    before = objects()
    samples = sum(len(family.samples) for family in fleet.metrics.registry.collect())
    for number in range(WARM + 1, WARM + RELOADS + 1):
        await reload(fleet, models, number)
    assert sum(len(family.samples) for family in fleet.metrics.registry.collect()) == samples
    after = objects()
    assert {kind: (before[kind], count) for kind, count in after.items() if count > before[kind] + 1} == {}
