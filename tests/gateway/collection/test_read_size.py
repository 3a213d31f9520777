"""What reading points may take is reckoned before, and kept to while it is read."""

from __future__ import annotations

import pytest
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.read_size import STEP_WITH_SOURCES, bytes_to_read
from clipserve_gateway.flow.byte_budget import SMALL_BYTES
from clipserve_gateway.settings import Settings

from testing.domain import SOON, Domain
from testing.fakes import fake_models
from testing.memory_engine import MemoryEngine

LIMITS = Settings().limits
MIB = 1 << 20


def test_a_few_points_are_small_and_a_page_is_not():
    assert bytes_to_read(10, LIMITS) <= SMALL_BYTES
    assert bytes_to_read(1_000, LIMITS) > 1_000 * LIMITS.max_payload_bytes
    assert bytes_to_read(1_000, LIMITS, dim=4096) - bytes_to_read(1_000, LIMITS) == 3 * 1_000 * 4 * 4096


def test_sources_are_reckoned_as_large_as_they_may_be_and_no_larger_than_a_message():
    one = bytes_to_read(1, LIMITS, with_sources=True) - bytes_to_read(1, LIMITS)
    assert one == 3 * LIMITS.max_image_bytes
    assert bytes_to_read(256, LIMITS, with_sources=True) < 300 * MIB


@pytest.mark.parametrize("what", ["fetch", "scroll"])
async def test_sources_are_read_a_few_at_a_time(embedder, monkeypatch, what):
    engine = MemoryEngine()
    domain = Domain(engine, await fake_models(), embedder)
    spec = await domain.create(keep_sources=True)
    ids = [f"{n:02}" for n in range(10)]
    await domain.upsert("pets", *(NewPoint(id, f"text {id}", {}) for id in ids))
    read: list[int] = []
    real = engine.fetch, engine.scroll

    async def fetch(table, ids, **options):
        points = await real[0](table, ids, **options)
        read.append(sum(point.source is not None for point in points))
        return points

    async def scroll(table, **options):
        points = await real[1](table, **options)
        read.append(sum(point.source is not None for point in points))
        return points

    monkeypatch.setattr(engine, "fetch", fetch)
    monkeypatch.setattr(engine, "scroll", scroll)
    options = {"with_embeddings": False, "with_sources": True, "max_bytes": MIB, "deadline": SOON}
    if what == "fetch":
        points = await domain.points.fetch(spec, ids, **options)
    else:
        points = (await domain.points.scroll(spec, after="", limit=100, filter=None, **options)).points
    assert [point.source.content.decode() for point in points] == [f"text {id}" for id in ids]
    assert max(read) == STEP_WITH_SOURCES
    await domain.close()


async def test_a_page_ends_where_its_sources_fill_a_message(embedder):
    domain = Domain(MemoryEngine(), await fake_models(), embedder)
    spec = await domain.create(keep_sources=True)
    await domain.upsert("pets", *(NewPoint(f"{n:02}", "x" * 1000, {}) for n in range(10)))
    after, seen = "", []
    while True:
        page = await domain.points.scroll(
            spec,
            after=after,
            limit=9,
            filter=None,
            with_embeddings=False,
            with_sources=True,
            max_bytes=2_500,
            deadline=SOON,
        )
        seen.append(len(page.points))
        after = page.points[-1].id
        if not page.more:
            break
    assert seen == [4, 4, 2]
    await domain.close()
