from __future__ import annotations

import asyncio

import numpy as np
import pytest
from clipserve_gateway import statistics as statistics_module
from clipserve_gateway.errors import StorageUnavailable
from clipserve_gateway.point_ops import NewPoint
from clipserve_gateway.statistics import RENEW_SECONDS, ScoreBackground, backgrounds, everyday_texts
from support.domain import Domain, picture
from support.fakes import fake_models
from support.memory_engine import MemoryEngine


@pytest.fixture
async def domain(embedder):
    domain = Domain(MemoryEngine(), await fake_models(), embedder)
    yield domain
    await domain.close()


async def made(domain, spec):
    """The statistics, once those under way are made."""
    await domain.statistics.all(spec)
    await asyncio.gather(*domain.statistics._tasks.values())
    return {found.query: found for found in await domain.statistics.all(spec)}


def uniform(count: int) -> ScoreBackground:
    return ScoreBackground("text", np.linspace(-1, 1, count, dtype=np.float32))


def test_percentiles_grow_with_the_score_from_0_to_100():
    background = uniform(10_001)
    scores = np.linspace(-1.5, 1.5, 301)
    found = [background.percentile(score) for score in scores]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0.0, 100.0)
    assert background.percentile(0.5) == pytest.approx(75, abs=0.02)


def test_percentiles_undo_quantiles():
    background = uniform(10_001)
    for share in (0.0, 0.5, 0.95, 0.999):
        assert background.percentile(background.quantile(share)) == pytest.approx(100 * share, abs=0.02)


def test_pairs_of_a_point_with_itself_do_not_count():
    sample = np.eye(3, dtype=np.float32)
    found = backgrounds(sample, np.ones((1, 3), np.float32) / np.sqrt(3))
    assert len(found["image"].cosines) == 6
    assert found["image"].cosines.max() == 0
    np.testing.assert_allclose(found["text"].cosines, [1 / np.sqrt(3)] * 3, rtol=1e-6)


def test_there_are_everyday_texts_of_many_kinds():
    texts = everyday_texts()
    assert len(texts) == len(set(texts)) >= 200


@pytest.mark.parametrize("points", [0, 1, 19])
async def test_of_few_points_nothing_is_told(domain, points):
    spec = await domain.create()
    if points:
        await domain.upsert("pets", *(NewPoint(f"{i}", picture(i), {}) for i in range(points)))
    assert await made(domain, spec) == {}


async def test_they_are_those_of_the_stored_points(domain):
    spec = await domain.create()
    await domain.upsert("pets", *(NewPoint(f"{i}", picture(i), {}) for i in range(30)))
    found = await made(domain, spec)
    assert len(found["image"].cosines) == 30 * 29
    assert len(found["text"].cosines) == 30 * len(everyday_texts())
    assert (np.diff(found["image"].cosines) >= 0).all()


async def test_they_are_made_anew_when_the_collection_has_grown(domain, monkeypatch):
    spec = await domain.create()
    await domain.upsert("pets", *(NewPoint(f"{i}", picture(i), {}) for i in range(30)))
    first = await made(domain, spec)
    now = statistics_module.time.monotonic() + RENEW_SECONDS + 1
    monkeypatch.setattr(statistics_module.time, "monotonic", lambda: now)
    assert (await made(domain, spec))["image"] is first["image"], "nothing has changed"
    await domain.upsert("pets", *(NewPoint(f"more{i}", picture(i), {}) for i in range(30)))
    now += RENEW_SECONDS + 1
    assert len((await made(domain, spec))["image"].cosines) == 60 * 59


async def test_an_engine_that_does_not_answer_leaves_hits_without_percentiles(domain, monkeypatch):
    spec = await domain.create()

    async def away(table):
        raise StorageUnavailable("away")

    monkeypatch.setattr(domain.engine, "count", away)
    assert await made(domain, spec) == {}
