from __future__ import annotations

import numpy as np
import pytest
from clipserve_gateway.access.caller import visible
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.errors import (
    CollectionNotFound,
    FingerprintMismatch,
    InvalidInput,
    InvalidPayload,
    LimitExceeded,
)
from clipserve_gateway.index.values import Eq
from clipserve_gateway.types import RawImage

from testing.domain import SOON, Domain, picture
from testing.fakes import DIM, SPEC, fake_models
from testing.memory_engine import MemoryEngine

UNIT = np.eye(DIM, dtype=np.float32)


@pytest.fixture
async def domain(embedder):
    domain = Domain(MemoryEngine(), await fake_models(), embedder)
    yield domain
    await domain.close()


async def fetch(domain, name, *ids, with_sources=True, max_bytes=1 << 30):
    spec = await domain.catalog.get(name)
    return await domain.points.fetch(
        spec, ids, with_embeddings=True, with_sources=with_sources, max_bytes=max_bytes, deadline=SOON
    )


async def scroll(domain, name, *, after="", limit=100, with_sources=False, max_bytes=1 << 30, filter=None):
    spec = await domain.catalog.get(name)
    return await domain.points.scroll(
        spec,
        after=after,
        limit=limit,
        filter=filter,
        with_embeddings=False,
        with_sources=with_sources,
        max_bytes=max_bytes,
        deadline=SOON,
    )


async def test_texts_pictures_and_embeddings_are_written_side_by_side(domain):
    await domain.create()
    statuses = await domain.upsert(
        "pets",
        NewPoint("text", "a dog", {"year": 1}),
        NewPoint("picture", picture(1), {}),
        NewPoint("vector", UNIT[0], {}),
    )
    assert statuses == [None, None, None]
    text, image, vector = await fetch(domain, "pets", "text", "picture", "vector")
    assert text.payload == {"year": 1}
    for stored in (text, image, vector):
        assert np.linalg.norm(stored.embedding) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(vector.embedding, UNIT[0])


async def test_a_bad_point_is_answered_and_its_neighbors_are_written(domain):
    await domain.create()
    refused = InvalidPayload("no such field", field="payload")
    statuses = await domain.upsert(
        "pets",
        NewPoint("good", "a", {}),
        NewPoint("broken", picture(1).__class__(b"junk"), {}),
        refused,
        NewPoint("short", UNIT[0][:3], {}),
        NewPoint("last", "b", {}),
    )
    reasons = [error and error.reason for error in statuses]
    assert reasons == [None, "IMAGE_UNREADABLE", "PAYLOAD_INVALID", "DIMENSION_MISMATCH", None]
    assert [it.id for it in (await scroll(domain, "pets")).points] == ["good", "last"]


async def test_what_the_engine_cannot_hold_is_refused_alone(domain, monkeypatch):
    await domain.create()

    def check(table, point):
        if point.id == "large":
            raise InvalidPayload("too large", field="payload")

    monkeypatch.setattr(domain.engine, "check", check)
    statuses = await domain.upsert("pets", NewPoint("large", "a", {}), NewPoint("small", "a", {}))
    assert [error and error.reason for error in statuses] == ["PAYLOAD_INVALID", None]
    assert [it.id for it in (await scroll(domain, "pets")).points] == ["small"]


async def test_embeddings_of_another_model_are_refused_with_both_named(domain):
    await domain.create()
    with pytest.raises(FingerprintMismatch) as caught:
        await domain.upsert("pets", NewPoint("a", UNIT[0], {}), fingerprint="0" * 64)
    assert caught.value.metadata == {"collection": SPEC.fingerprint, "request": "0" * 64}
    assert await domain.upsert("pets", NewPoint("a", UNIT[0], {}), fingerprint=SPEC.fingerprint) == [None]


async def test_points_for_a_collection_that_was_made_anew_are_refused(domain):
    before = await domain.create()
    await domain.collections.drop("pets", shown=visible())
    await domain.create()
    with pytest.raises(CollectionNotFound):
        await domain.points.upsert(before, [NewPoint("a", "a", {})], fingerprint="", deadline=SOON)


async def test_sources_are_kept_where_the_collection_keeps_them(domain):
    await domain.create("kept", keep_sources=True)
    await domain.create("bare")
    raw = RawImage(bytes(range(12)), 2, 2)
    points = [NewPoint("text", "ä dog", {}), NewPoint("picture", picture(1), {}), NewPoint("raw", raw, {})]
    for name in ("kept", "bare"):
        assert await domain.upsert(name, *points) == [None] * 3
    text, image, pixels = await fetch(domain, "kept", "text", "picture", "raw")
    assert (text.source.kind, text.source.content.decode()) == ("text", "ä dog")
    assert (image.source.kind, image.source.content) == ("image", picture(1).content)
    assert pixels.source.content.startswith(b"\x89PNG")
    assert [it.source for it in await fetch(domain, "bare", "text", "picture")] == [None, None]


async def test_an_engine_that_keeps_no_sources_says_so_at_the_start(domain):
    domain.engine.keeps_sources = False
    with pytest.raises(InvalidInput) as caught:
        await domain.create(keep_sources=True)
    assert caught.value.field == "keep_sources"


async def test_deletes_count_what_existed(domain):
    spec = await domain.create()
    await domain.upsert("pets", *(NewPoint(str(i), "a", {"year": i % 2}) for i in range(6)))
    assert await domain.points.delete("pets", ["0", "nope"], SOON) == 1
    assert await domain.points.delete_where(spec, Eq("year", 1), SOON) == 3
    assert await domain.points.count(spec, None, SOON) == 2
    assert await domain.points.count(spec, Eq("year", 0), SOON) == 2


async def test_pages_cover_all_points_once(domain):
    await domain.create()
    await domain.upsert("pets", *(NewPoint(f"{i:02d}", "a", {"year": i}) for i in range(25)))
    ids, after = [], ""
    while True:
        page = await scroll(domain, "pets", after=after, limit=10)
        ids += [it.id for it in page.points]
        if not page.more:
            break
        after = page.points[-1].id
    assert ids == [f"{i:02d}" for i in range(25)]
    assert (await scroll(domain, "pets", filter=Eq("year", 7))).points[0].id == "07"


async def test_pages_of_sources_end_where_they_grow_large(domain):
    await domain.create(keep_sources=True)
    await domain.upsert("pets", *(NewPoint(f"{i:02d}", "x" * 1000, {}) for i in range(60)))
    page = await scroll(domain, "pets", limit=50, with_sources=True, max_bytes=20_000)
    assert 20 <= len(page.points) < 50
    assert page.more
    whole = await scroll(domain, "pets", limit=60, with_sources=True)
    assert (len(whole.points), whole.more) == (60, False)
    with pytest.raises(LimitExceeded) as caught:
        await fetch(domain, "pets", *(f"{i:02d}" for i in range(60)), max_bytes=20_000)
    assert caught.value.field == "ids"
    assert len(await fetch(domain, "pets", *(f"{i:02d}" for i in range(15)), max_bytes=20_000)) == 15
