from __future__ import annotations

import io

import numpy as np
import pytest
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.thumbnails import Thumbnails
from clipserve_gateway.errors import (
    DeadlineExceeded,
    ImageUnreadable,
    Overloaded,
    PointNotFound,
    SourcesNotKept,
)
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inputs import thumbnail
from clipserve_gateway.settings import Settings
from clipserve_gateway.types import EncodedImage, ImageRules, RawImage
from PIL import Image

from testing.domain import SOON, Domain, picture
from testing.fakes import DIM, fake_models
from testing.memory_engine import MemoryEngine


@pytest.fixture
async def domain(embedder):
    domain = Domain(MemoryEngine(), await fake_models(), embedder)
    yield domain
    await domain.close()


@pytest.fixture
def thumbnails(domain, pool):
    return Thumbnails(domain.points, pool, Settings().limits)


async def make(domain, thumbnails, id, name="pets", deadline=SOON):
    return await thumbnails.make(await domain.catalog.get(name), id, max_side=16, deadline=deadline)


async def test_pictures_and_raw_pixels_have_thumbnails(domain, thumbnails):
    await domain.create(keep_sources=True)
    raw = RawImage(bytes(range(100)) * 24, 40, 20)
    await domain.upsert("pets", NewPoint("picture", picture(1), {}), NewPoint("pixels", raw, {}))
    sizes = [
        (made.width, made.height)
        for made in [await make(domain, thumbnails, id) for id in ("picture", "pixels")]
    ]
    assert sizes == [(16, 16), (16, 8)]


async def test_the_rules_are_those_of_the_collection(domain, thumbnails):
    rules = ImageRules(background=(0, 200, 0))
    await domain.create(keep_sources=True, rules=rules)
    file = io.BytesIO()
    Image.new("RGBA", (20, 20)).save(file, "PNG")
    await domain.upsert("pets", NewPoint("clear", EncodedImage(file.getvalue()), {}))
    made = await make(domain, thumbnails, "clear")
    assert np.abs(np.array(Image.open(io.BytesIO(made.jpeg)).getpixel((8, 8))) - rules.background).max() < 5


async def test_without_a_stored_picture_there_is_no_thumbnail(domain, thumbnails):
    await domain.create("bare")
    await domain.create(keep_sources=True)
    await domain.upsert("bare", NewPoint("picture", picture(1), {}))
    vector = np.eye(DIM, dtype=np.float32)[0]
    await domain.upsert("pets", NewPoint("text", "a dog", {}), NewPoint("vector", vector, {}))
    for name, id, field in (
        ("bare", "picture", "collection"),
        ("bare", "nobody", "collection"),
        ("pets", "text", "id"),
        ("pets", "vector", "id"),
    ):
        with pytest.raises(SourcesNotKept) as caught:
            await make(domain, thumbnails, id, name)
        assert caught.value.field == field
    with pytest.raises(PointNotFound) as missing:
        await make(domain, thumbnails, "nobody")
    assert missing.value.field == "id"


async def test_a_stored_file_that_is_broken_names_the_id(domain, thumbnails):
    await domain.create(keep_sources=True)
    vector = np.eye(DIM, dtype=np.float32)[0]
    await domain.upsert("pets", NewPoint("broken", vector, {}, kept_source=EncodedImage(b"junk")))
    with pytest.raises(ImageUnreadable) as caught:
        await make(domain, thumbnails, "broken")
    assert caught.value.field == "id"


async def test_a_large_picture_waits_for_its_turn_alone(domain, thumbnails, pool, monkeypatch):
    monkeypatch.setattr(thumbnail, "LARGE_BYTES", 1)
    costs = []
    run = pool.run

    async def recorded(work, *, deadline, alone=False, cost=1):
        costs.append((alone, cost))
        return await run(work, deadline=deadline, alone=alone, cost=cost)

    monkeypatch.setattr(pool, "run", recorded)
    await domain.create(keep_sources=True)
    await domain.upsert("pets", NewPoint("picture", picture(1), {}))
    costs.clear()
    await make(domain, thumbnails, "picture")
    assert costs == [(False, 1), (True, 1)]


async def test_a_busy_pool_and_a_past_deadline_refuse(domain, thumbnails, pool, monkeypatch):
    await domain.create(keep_sources=True)
    await domain.upsert("pets", NewPoint("picture", picture(1), {}))
    with pytest.raises(DeadlineExceeded):
        await make(domain, thumbnails, "picture", deadline=Deadline.after(-1))
    monkeypatch.setattr(pool, "_pending", 1 << 20)
    with pytest.raises(Overloaded):
        await make(domain, thumbnails, "picture")
