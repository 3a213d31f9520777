from __future__ import annotations

import numpy as np
import pytest
from clipserve_gateway.collection import group_search
from clipserve_gateway.collection.duplicates import Grouping
from clipserve_gateway.collection.group_search import PAGES, Candidates, find_groups, with_payloads
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.search import Like, Part
from clipserve_gateway.index.lance.rows import distance_below
from clipserve_gateway.index.values import Point, TableSpec
from hypothesis import example, given
from hypothesis import strategies as st

from testing.domain import Domain
from testing.fakes import DIM, fake_models
from testing.memory_engine import MemoryEngine

SPEC = TableSpec("table", 2, {})
QUERY = np.array([1, 0], np.float32)


def at(degrees: float) -> np.ndarray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


async def engine_with(degrees) -> MemoryEngine:
    engine = MemoryEngine()
    await engine.create_table(SPEC)
    await engine.upsert(SPEC, [Point(f"{i:05}", embedding=at(it)) for i, it in enumerate(degrees)])
    return engine


def by_all(engine_hits, threshold, top_k):
    """The groups among all points."""
    grouping = Grouping(threshold, top_k)
    grouping.add(engine_hits, np.stack([hit.embedding for hit in engine_hits]))
    return [group.hit.id for group in grouping.groups]


class Watched(Candidates):
    """Notes how many hits were asked for. Searches from above find no more than `reach`."""

    def __init__(self, engine, reach=10_000):
        super().__init__(engine, SPEC, QUERY, None, True)
        self.__dict__.update(asked=[], reach=reach)

    async def hits(self, top_k, below):
        self.asked.append(top_k)
        hits = await super().hits(top_k, below)
        return hits if below is not None else hits[: self.reach]


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(group_search, "MAX_PAGE", 8)


@given(
    degrees=st.lists(st.sampled_from([0, 0.001, 1, 2, 20, 45, 90, 91, 180]), min_size=1, max_size=60),
    threshold=st.sampled_from([0.5, 0.9, 0.999, 1.0]),
    top_k=st.integers(1, 12),
    most=st.integers(2, 10),
)
@example(degrees=[20] * 50 + [90], threshold=0.9, top_k=2, most=8)
async def test_parts_find_the_groups_of_the_whole_or_say_that_they_may_not(degrees, threshold, top_k, most):
    engine = await engine_with(degrees)
    candidates = Candidates(engine, SPEC, QUERY, None, True)
    expected = by_all(await candidates.hits(len(degrees), None), threshold, top_k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_search, "MAX_PAGE", most)
        result = await find_groups(candidates, threshold, top_k)
    ids = [group.hit.id for group in result.groups]
    if not result.incomplete:
        assert ids == expected
    else:
        # The groups are right, though incomplete: some points of each score were read.
        assert set(ids) <= {f"{i:05}" for i in range(len(degrees))}
        assert ids[:1] == expected[:1]


@pytest.mark.usefixtures("small_parts")
async def test_groups_behind_a_mass_of_equal_points_are_found():
    engine = await engine_with([5.0] * 500 + [20 + 10 * i for i in range(12)])
    candidates = Candidates(engine, SPEC, QUERY, None, True)
    result = await find_groups(candidates, 0.999, 10)
    assert [group.hit.id for group in result.groups] == ["00000", *(f"{500 + i:05}" for i in range(9))]
    assert result.incomplete, "not all of the equal points were looked at"


@pytest.mark.usefixtures("small_parts")
async def test_a_mass_of_points_that_are_almost_equal_is_gone_through_or_told():
    for count, incomplete in ((40, False), (8 * (PAGES + 1), True)):
        engine = await engine_with([5 + i / 1e4 for i in range(count)] + [60.0, 90.0])
        candidates = Candidates(engine, SPEC, QUERY, None, True)
        result = await find_groups(candidates, 0.999, 3)
        assert (len(result.groups), result.incomplete) == (1 if incomplete else 3, incomplete)


@pytest.mark.usefixtures("small_parts")
async def test_points_below_the_lowest_score_are_not_looked_at():
    engine = await engine_with([5 + i / 1e4 for i in range(8 * (PAGES + 1))] + [60.0] * 100)
    candidates = Watched(engine)
    result = await find_groups(candidates, 0.999, 3, lowest=float(np.cos(np.radians(5.0005))))
    assert not result.incomplete
    assert len(candidates.asked) < PAGES


@pytest.mark.usefixtures("small_parts")
async def test_groups_that_a_search_finds_no_way_to_are_looked_for_below():
    engine = await engine_with([5.0] * 50 + [20 + 10 * i for i in range(5)])
    result = await find_groups(Watched(engine, reach=3), 0.999, 10)
    assert [group.hit.id for group in result.groups] == ["00000", *(f"{50 + i:05}" for i in range(5))]
    assert result.incomplete, "not all of the equal points were looked at"
    result = await find_groups(Watched(engine, reach=0), 0.999, 10)
    assert (result.groups, result.incomplete) == ([], True)


async def test_a_point_that_is_gone_gives_its_place_to_its_first_duplicate():
    engine = await engine_with([0, 1, 40])
    result = await find_groups(Candidates(engine, SPEC, QUERY, None, True), 0.9, 3)
    await engine.delete(SPEC, ["00000", "00002"])
    [group] = await with_payloads(engine, SPEC, result.groups)
    assert (group.hit.id, group.duplicates) == ("00001", ())


async def test_searches_tell_that_they_are_incomplete(embedder, monkeypatch):
    monkeypatch.setattr(group_search, "MAX_PAGE", 8)
    domain = Domain(MemoryEngine(), await fake_models(), embedder)
    await domain.create()
    vectors = np.eye(DIM, dtype=np.float32)
    points = [NewPoint(f"{i:03}", vectors[0], {"year": i}) for i in range(100)]
    points += [NewPoint("other", vectors[1], {"year": 1})]
    await domain.upsert("pets", *points)
    for query in (Part(vectors[0]), Part(Like("000"))):
        outcome = await domain.search("pets", query, top_k=2, duplicate_threshold=0.95)
        assert outcome.incomplete
        assert outcome.groups[1].hit.id == "other"
        assert outcome.groups[1].hit.payload == {"year": 1}
        assert "000" not in {hit.id for hit in outcome.groups[0].duplicates}
    assert not (await domain.search("pets", Part(vectors[0]), top_k=2)).incomplete
    await domain.close()


@given(st.floats(-0.96875, 1, width=32))
def test_the_least_distance_below_a_score_is_the_first_that_rounds_below_it(score):
    distance = np.float32(distance_below(score))
    assert np.float32(1) - distance < np.float32(score)
    assert np.float32(1) - np.nextafter(distance, np.float32(-1)) >= np.float32(score)
