from __future__ import annotations

import numpy as np
import pytest
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.reference_texts import reference_prompts
from clipserve_gateway.collection.search import Like, Part
from clipserve_gateway.errors import (
    CollectionNotFound,
    DimensionMismatch,
    FingerprintMismatch,
    ImageUnreadable,
    InvalidInput,
    PointNotFound,
)
from clipserve_gateway.index.values import Eq
from clipserve_gateway.types import EncodedImage

from testing.domain import Domain, picture
from testing.fakes import DIM, fake_models
from testing.memory_engine import MemoryEngine


def direction(*numbers: float) -> np.ndarray:
    vector = np.zeros(DIM, np.float32)
    vector[: len(numbers)] = numbers
    return vector / np.linalg.norm(vector)


@pytest.fixture
async def domain(embedder):
    domain = Domain(MemoryEngine(), await fake_models(), embedder)
    await domain.create()
    yield domain
    await domain.close()


def ids(outcome) -> list[str]:
    return [group.hit.id for group in outcome.groups]


async def fill(domain):
    """Points around two corners of a square, and one between them."""
    corners = {"x": direction(1, 0), "y": direction(0, 1), "xy": direction(1, 1), "z": direction(0, 0, 1)}
    points = [
        NewPoint(id, vector, {"year": i, "kind": "corner"}) for i, (id, vector) in enumerate(corners.items())
    ]
    assert await domain.upsert("pets", *points) == [None] * 4


async def test_texts_and_pictures_find_what_they_were_made_of(domain):
    await domain.upsert("pets", NewPoint("dog", "a dog", {}), NewPoint("picture", picture(1), {}))
    for source, expected in (("a dog", "dog"), (picture(1), "picture")):
        [best, *_] = (await domain.search("pets", Part(source))).groups
        assert best.hit.id == expected
        assert best.hit.score == pytest.approx(1, abs=1e-5)


async def test_a_cut_text_is_told(domain):
    assert (await domain.search("pets", Part("a " * 200))).truncated
    assert not (await domain.search("pets", Part("a"))).truncated


async def test_hits_are_best_first_and_not_below_the_threshold(domain):
    await fill(domain)
    outcome = await domain.search("pets", Part(direction(1, 0.1)))
    assert ids(outcome) == ["x", "xy", "y", "z"]
    outcome = await domain.search("pets", Part(direction(1, 0.1)), score_threshold=0.5, top_k=1)
    assert ids(outcome) == ["x"]
    outcome = await domain.search("pets", Part(direction(1, 0.1)), score_threshold=0.5)
    assert ids(outcome) == ["x", "xy"]


async def test_like_finds_neighbors_and_leaves_the_point_itself_out(domain):
    await fill(domain)
    assert ids(await domain.search("pets", Part(Like("x")), top_k=2)) == ["xy", "y"]


async def test_parts_add_up_and_lead_away(domain):
    await fill(domain)
    both = (Part(Like("x"), 1.0), Part(direction(0, 1), 1.0))
    assert ids(await domain.search("pets", *both))[0] == "xy"
    away = (Part(direction(1, 1)), Part(direction(0, 1), -1.0))
    assert ids(await domain.search("pets", *away))[0] == "x"
    [best, *_] = (await domain.search("pets", Part(direction(0, 0, 1), -0.25))).groups[-1:]
    assert (best.hit.id, best.hit.score) == ("z", pytest.approx(-1, abs=1e-6))


@pytest.mark.parametrize("scale", [1e-38, 1e-4, 1.0, 3e38])
async def test_only_the_ratio_of_weights_counts(domain, scale):
    await fill(domain)
    plain = await domain.search("pets", Part(direction(1)), Part(direction(0, 1), -0.5))
    scaled = await domain.search("pets", Part(direction(1), scale), Part(direction(0, 1), -0.5 * scale))
    assert ids(scaled) == ids(plain)
    for one, other in zip(scaled.groups, plain.groups, strict=True):
        assert one.hit.score == pytest.approx(other.hit.score, abs=1e-6)


@pytest.mark.parametrize(
    ("parts", "error", "field"),
    [
        ((Part(Like("nope")),), PointNotFound, "like"),
        (
            (Part(Like("x")), Part(Like("nope"), field="weighted.parts[1].")),
            PointNotFound,
            "weighted.parts[1].like",
        ),
        ((Part(direction(1)[:3]),), DimensionMismatch, "embedding"),
        (
            (Part(direction(1)), Part(direction(1)[:3], field="weighted.parts[1].")),
            DimensionMismatch,
            "weighted.parts[1].embedding",
        ),
        ((Part(direction(1)), Part(direction(1), -1.0)), InvalidInput, "weighted.parts"),
        ((Part(EncodedImage(b"junk")),), ImageUnreadable, "image.content"),
        (
            (Part("a"), Part(EncodedImage(b"junk"), field="weighted.parts[1].")),
            ImageUnreadable,
            "weighted.parts[1].image.content",
        ),
    ],
)
async def test_a_bad_query_names_the_part(domain, parts, error, field):
    await fill(domain)
    with pytest.raises(error) as caught:
        await domain.search("pets", *parts)
    assert caught.value.field == field


async def test_embeddings_of_another_model_are_refused(domain):
    with pytest.raises(FingerprintMismatch):
        await domain.search("pets", Part(direction(1)), fingerprint="0" * 64)


async def test_a_collection_that_is_not_there_is_not_found(domain):
    with pytest.raises(CollectionNotFound):
        await domain.search("nope", Part("a"))


async def test_the_payload_comes_whole_or_in_part(domain):
    await fill(domain)
    whole = await domain.search("pets", Part(direction(1)), top_k=1)
    assert whole.groups[0].hit.payload == {"year": 0, "kind": "corner"}
    part = await domain.search("pets", Part(direction(1)), top_k=1, payload_fields=("year",))
    assert part.groups[0].hit.payload == {"year": 0}


async def test_filters_choose_among_the_points(domain):
    await fill(domain)
    assert ids(await domain.search("pets", Part(direction(1)), filter=Eq("year", 3))) == ["z"]


async def test_near_duplicates_stand_behind_the_best_of_them(domain):
    near = [direction(1, 0.01 * i) for i in range(5)]
    await fill(domain)
    await domain.upsert("pets", *(NewPoint(f"x{i}", vector, {}) for i, vector in enumerate(near)))
    outcome = await domain.search("pets", Part(direction(1, 0)), top_k=2, duplicate_threshold=0.95)
    assert ids(outcome) == ["x", "xy"]
    assert [hit.id for hit in outcome.groups[0].duplicates] == ["x0", "x1", "x2", "x3", "x4"]
    apart = await domain.search("pets", Part(direction(1, 0)), top_k=2)
    assert ids(apart) == ["x", "x0"]


async def test_groups_are_filled_up_from_further_down(domain):
    crowd = [NewPoint(f"crowd{i:04d}", direction(1, 1e-4 * i), {}) for i in range(300)]
    await domain.upsert("pets", *crowd)
    await fill(domain)
    outcome = await domain.search("pets", Part(direction(1, 0)), top_k=3, duplicate_threshold=0.99)
    assert ids(outcome) == ["crowd0000", "xy", "y"]
    assert len(outcome.groups[0].duplicates) == 100


async def test_scores_of_single_queries_are_judged_by_their_kind(domain):
    await domain.upsert("pets", *(NewPoint(f"{i}", picture(i), {}) for i in range(40)))
    text = (await domain.search("pets", Part("a dog"))).scale
    pictures = 40 * 39
    assert len(text.unrelated) == 40 * len(reference_prompts().everyday)
    for query in (Part(picture(1)), Part(Like("1"))):
        assert len((await domain.search("pets", query)).scale.unrelated) == pictures
    for query in ((Part(direction(1)),), (Part("a"), Part("b"))):
        assert (await domain.search("pets", *query)).scale is None
