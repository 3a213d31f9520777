from __future__ import annotations

import asyncio
import dataclasses
import unicodedata

import numpy as np
import pytest
from clipserve_gateway.collection import score_statistics as statistics_module
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.reference_texts import ReferenceTexts, reference_prompts
from clipserve_gateway.collection.score_statistics import (
    RENEW_SECONDS,
    ScoreBackground,
    ScoreScale,
    backgrounds,
)
from clipserve_gateway.collection.search import Part
from clipserve_gateway.errors import StorageUnavailable

from testing.domain import Domain, picture
from testing.fakes import fake_models
from testing.memory_engine import MemoryEngine


@pytest.fixture
async def domain(embedder):
    domain = Domain(MemoryEngine(), await fake_models(), embedder)
    yield domain
    await domain.close()


async def made(domain, spec):
    """The statistics, once those under way are made."""
    await domain.statistics.all(spec)
    await asyncio.gather(*domain.statistics._tasks.running.values())
    return {background.query: background for background in await domain.statistics.all(spec)}


def uniform(count: int) -> ScoreBackground:
    cosines = np.linspace(-1, 1, count, dtype=np.float32)
    return ScoreBackground("image", cosines, cosines, np.zeros(3, np.float32), None)


def references(nonsense: list[list[float]]) -> ReferenceTexts:
    """Everyday texts along the axes of a plane, and nonsense."""
    everyday = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]
    return ReferenceTexts(np.array(everyday, np.float32), np.array(nonsense, np.float32))


def test_percentiles_grow_with_the_score_from_0_to_100():
    scale = uniform(10_001).scale(np.ones(3, np.float32))
    scores = np.linspace(-1.5, 1.5, 301)
    percentiles = [scale.percentile(score) for score in scores]
    assert percentiles == sorted(percentiles)
    assert (percentiles[0], percentiles[-1]) == (0.0, 100.0)
    assert scale.percentile(0.5) == pytest.approx(75, abs=0.02)


def test_percentiles_undo_quantiles():
    background = uniform(10_001)
    scale = background.scale(np.ones(3, np.float32))
    for share in (0.0, 0.5, 0.95, 0.999):
        assert scale.percentile(background.quantile(share)) == pytest.approx(100 * share, abs=0.02)


def test_pairs_of_a_point_with_itself_do_not_count():
    measured = backgrounds(np.eye(3, dtype=np.float32), references([[0, 0, 1]]))
    assert len(measured["image"].cosines) == 6
    assert measured["image"].cosines.max() == 0
    np.testing.assert_allclose(measured["text"].cosines[[0, 1, -2, -1]], [-1, -1, 1, 1])


def test_the_nearer_a_query_is_to_nonsense_the_less_it_means():
    texts = references([[0, 0, 1], [0, 0.6, 0.8]])
    queries = np.array([[0, 0, 1], [0, 0.6, 0.8], [0.8, 0, 0.6], [1, 0, 0], [0, 0, -1]], np.float32)
    np.testing.assert_allclose(texts.meaning(queries), [0, 0, 0.4, 1, 1], atol=1e-6)


def test_what_all_texts_have_in_common_is_not_taken_for_nonsense():
    apart = references([[0, 0, 1]])
    shifted = ReferenceTexts(apart.everyday + 5, apart.nonsense + 5)
    query = np.array([[0.8, 0, 0.6]], np.float32)
    np.testing.assert_allclose(shifted.meaning(query + 5), apart.meaning(query), atol=1e-5)


def test_a_text_is_judged_by_how_far_hits_stand_out_from_its_mean_score():
    sample = np.array([[0.6, 0, 0.8], [0, 0.6, 0.8]] * 10, np.float32)
    background = backgrounds(sample, references([[0, 0, 1]]))["text"]
    background = dataclasses.replace(background, contrasts=np.linspace(-1, 1, 201, dtype=np.float32))
    close, far = (background.scale(np.array(query, np.float32)) for query in ([0.8, 0, 0.6], [1, 0, 0]))
    assert (far.mean, far.weight) == pytest.approx((0.3, 1))
    assert (close.mean, close.weight) == pytest.approx((0.72, 0.4))
    # 0.24 × 0.4 and 0.3 × 1 above the mean.
    assert close.percentile(0.96) == pytest.approx(50 * 1.096, abs=0.5)
    assert far.percentile(0.6) == pytest.approx(50 * 1.3, abs=0.5)


def test_there_are_everyday_texts_of_many_kinds_and_nonsense_of_many_scripts():
    for texts in reference_prompts():
        assert len(texts) == len(set(texts)) >= 200
    assert not set(reference_prompts().everyday) & set(reference_prompts().nonsense)
    scripts = {unicodedata.name(letter).split()[0] for letter in "".join(reference_prompts().nonsense)}
    wanted = "LATIN CYRILLIC GREEK ARABIC HEBREW DEVANAGARI THAI HIRAGANA HANGUL CJK DIGIT"
    assert set(wanted.split()) <= scripts


@pytest.mark.parametrize("points", [0, 1, 19])
async def test_of_few_points_nothing_is_told(domain, points):
    spec = await domain.create()
    if points:
        await domain.upsert("pets", *(NewPoint(f"{i}", picture(i), {}) for i in range(points)))
    assert await made(domain, spec) == {}


async def test_they_are_those_of_the_stored_points(domain):
    spec = await domain.create()
    await domain.upsert("pets", *(NewPoint(f"{i}", picture(i), {}) for i in range(30)))
    measured = await made(domain, spec)
    assert len(measured["image"].cosines) == 30 * 29
    assert len(measured["text"].cosines) == 30 * len(reference_prompts().everyday)
    assert (np.diff(measured["image"].cosines) >= 0).all()


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


async def test_the_first_search_has_percentiles(domain):
    await domain.create()
    assert (await domain.search("pets", Part("a dog"))).scale is None, "no points"
    await domain.upsert("pets", *(NewPoint(f"{i}", picture(i), {}) for i in range(30)))
    await asyncio.sleep(statistics_module.RENEW_SECONDS_FEW)
    for source in ("a dog", picture(3)):
        outcome = await domain.search("pets", Part(source))
        assert isinstance(outcome.scale, ScoreScale)
        assert 0 <= outcome.scale.percentile(outcome.groups[0].hit.score) <= 100


async def test_statistics_that_take_long_hold_up_one_search_only(domain, monkeypatch):
    await domain.create()
    await domain.upsert("pets", *(NewPoint(f"{i}", picture(i), {}) for i in range(30)))
    count, free = domain.engine.count, asyncio.Event()

    async def slow(table, filter=None):
        await free.wait()
        return await count(table, filter)

    monkeypatch.setattr(domain.engine, "count", slow)
    monkeypatch.setattr(statistics_module, "WAIT_SECONDS", 0.01)
    assert (await domain.search("pets", Part("a dog"))).scale is None
    monkeypatch.setattr(statistics_module, "WAIT_SECONDS", 3600)
    assert (await domain.search("pets", Part("a dog"))).scale is None
    free.set()
    await asyncio.gather(*domain.statistics._tasks.running.values())
    assert (await domain.search("pets", Part("a dog"))).scale is not None


async def test_points_that_come_to_be_enough_are_measured(domain, monkeypatch):
    spec = await domain.create()
    await domain.upsert("pets", *(NewPoint(f"{i}", picture(i), {}) for i in range(19)))
    assert await made(domain, spec) == {}
    await domain.upsert("pets", NewPoint("one more", picture(19), {}))
    now = statistics_module.time.monotonic() + RENEW_SECONDS + 1
    monkeypatch.setattr(statistics_module.time, "monotonic", lambda: now)
    assert len((await made(domain, spec))["image"].cosines) == 20 * 19


async def test_reference_texts_are_embedded_once_for_each_model(domain, encoder):
    for name in ("pets", "cars"):
        spec = await domain.create(name)
        await domain.upsert(name, *(NewPoint(f"{i}", picture(i), {}) for i in range(20)))
        await made(domain, spec)
    again = Domain(domain.engine, await fake_models(), domain.embedder._embedder)
    assert set(await made(again, spec)) == {"text", "image"}
    await again.close()
    assert sum(count for count, _ in encoder.text_batches) == sum(map(len, reference_prompts()))


async def test_the_best_hit_says_whether_anything_matches_well(domain):
    await domain.create()
    await domain.upsert("pets", *(NewPoint(f"{i}", picture(i), {}) for i in range(30)))
    outcome = await domain.search("pets", Part(picture(3)))
    assert not outcome.weak_match, "the picture itself"
    best = outcome.groups[0].hit.score
    for unrelated, weak in (
        ([best + 0.01] * 6 + [-1.0] * 94, True),
        ([best + 0.01] * 5 + [-1.0] * 95, False),
    ):
        scale = ScoreScale(0.0, 1.0, np.sort(np.array(unrelated, np.float32)))
        assert dataclasses.replace(outcome, scale=scale).weak_match is weak
    assert not dataclasses.replace(outcome, scale=None).weak_match
    assert not dataclasses.replace(outcome, groups=[]).weak_match
