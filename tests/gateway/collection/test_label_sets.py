from __future__ import annotations

import asyncio

import numpy as np
import pytest
from clipserve_gateway.collection.label_sets import LabelSets, StoredLabelSet
from clipserve_gateway.errors import LabelSetNotFound
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.inference.classifier import Classifier
from clipserve_gateway.inference.label_cache import LabelCache
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.types import LabelSet, LabelSetRef, NoneOfTheAbove, ScoreMode

from testing.domain import SOON
from testing.fakes import SPEC, fake_models
from testing.memory_engine import MemoryEngine

PETS = LabelSet(("dog", "cat"), ("a photo of a {}.",))
MORE = LabelSet(
    ("dog", "cat", "bird"),
    ("a photo of a {}.", "a drawing of a {}."),
    (0.1, 0.2, 0.3),
    NoneOfTheAbove("nothing", ("a photo.",), 0.05),
)


def ref_of(stored: StoredLabelSet) -> LabelSetRef:
    return stored.ref


@pytest.fixture(params=["memory", "lance"])
async def engine(request, tmp_path):
    engine = MemoryEngine() if request.param == "memory" else LanceEngine(str(tmp_path))
    yield engine
    await engine.close()


@pytest.fixture
def label_sets(engine):
    return LabelSets(engine)


async def test_a_label_set_comes_back_as_it_was_put(label_sets, engine):
    stored, created = await label_sets.put("pets", MORE)
    assert (stored.ref, created, stored.versions) == (LabelSetRef("pets", 1), True, (1,))
    assert (await LabelSets(engine).get(LabelSetRef("pets"))) == stored
    assert stored.labels == MORE


async def test_the_same_content_changes_nothing_and_other_content_is_the_next_version(label_sets):
    await label_sets.put("pets", PETS)
    same, created = await label_sets.put("pets", PETS)
    assert (same.ref.version, created) == (1, False)
    more, created = await label_sets.put("pets", MORE)
    assert (more.ref.version, created, more.versions) == (2, True, (1, 2))
    assert more.content_hash != same.content_hash
    back, created = await label_sets.put("pets", PETS)
    assert (back.ref.version, created, back.content_hash) == (3, True, same.content_hash)
    assert (await label_sets.get(LabelSetRef("pets", 2))).labels == MORE


@pytest.mark.parametrize(
    "changed",
    [
        LabelSet(("cat", "dog"), PETS.templates),
        LabelSet(PETS.names, ("{}",)),
        LabelSet(PETS.names, PETS.templates, (0.0, 0.0)),
        LabelSet(PETS.names, PETS.templates, (), NoneOfTheAbove("none", ("a",))),
    ],
)
async def test_whatever_differs_makes_another_version(label_sets, changed):
    await label_sets.put("pets", PETS)
    assert (await label_sets.put("pets", changed))[1]


async def test_what_is_not_there_is_not_found_and_the_field_is_named(label_sets):
    with pytest.raises(LabelSetNotFound) as caught:
        await label_sets.get(LabelSetRef("nope"))
    assert caught.value.field == "ref.name"
    await label_sets.put("pets", PETS)
    with pytest.raises(LabelSetNotFound, match="its versions are: 1") as caught:
        await label_sets.get(LabelSetRef("pets", 7))
    assert caught.value.field == "ref.version"
    with pytest.raises(LabelSetNotFound) as caught:
        await label_sets.resolve(None, LabelSetRef("nope"))
    assert caught.value.field == "label_set.name"


async def test_deleted_versions_are_gone_and_their_numbers_are_not_given_again(label_sets, engine):
    await label_sets.put("pets", PETS)
    await label_sets.put("pets", MORE)
    assert await label_sets.delete(LabelSetRef("pets", 1)) == 1
    with pytest.raises(LabelSetNotFound):
        await label_sets.get(LabelSetRef("pets", 1))
    assert await label_sets.delete(LabelSetRef("pets")) == 1
    with pytest.raises(LabelSetNotFound):
        await label_sets.delete(LabelSetRef("pets"))
    assert await label_sets.page("", 10, ref_of) == []
    assert (await label_sets.put("pets", PETS))[0].ref.version == 3
    kept = [document.key for document in await engine.documents("labels/")]
    assert kept == ["labels/head/pets", "labels/version/pets/3"]


async def test_pages_are_in_the_order_of_names(label_sets):
    for name in ("b", "a", "c"):
        await label_sets.put(name, PETS)
    await label_sets.put("a", MORE)
    first = await label_sets.page("", 2, ref_of)
    assert first == [LabelSetRef("a", 2), LabelSetRef("b", 1)]
    assert await label_sets.page("b", 2, ref_of) == [LabelSetRef("c", 1)]


async def test_puts_at_once_by_several_gateways_all_get_versions_of_their_own(engine):
    gateways = [LabelSets(engine) for _ in range(4)]
    sets = [LabelSet((f"label {i}",), ("{}",)) for i in range(4)]
    results = await asyncio.gather(
        *(gateway.put("pets", labels) for gateway, labels in zip(gateways, sets, strict=True))
    )
    versions = [stored.ref.version for stored, _ in results]
    assert len(set(versions)) == 4
    for stored, _ in results:
        assert (await LabelSets(engine).get(stored.ref)).labels == stored.labels


async def test_calls_see_a_put_and_a_delete_of_their_own_gateway_at_once(label_sets):
    await label_sets.put("pets", PETS)
    assert await label_sets.resolve(None, LabelSetRef("pets")) == (PETS, LabelSetRef("pets", 1))
    await label_sets.put("pets", MORE)
    assert await label_sets.resolve(None, LabelSetRef("pets")) == (MORE, LabelSetRef("pets", 2))
    await label_sets.delete(LabelSetRef("pets"))
    with pytest.raises(LabelSetNotFound):
        await label_sets.resolve(None, LabelSetRef("pets"))
    assert await label_sets.resolve(PETS, None) == (PETS, None)


async def test_embeddings_are_made_once_for_all_gateways(engine, embedder, encoder):
    stored, _ = await LabelSets(engine).put("pets", MORE)
    first = LabelCache(embedder, 1 << 20, Metrics(), LabelSets(engine))
    made = await first.get(SPEC, MORE, SOON, stored.ref)
    batches = len(encoder.text_batches)
    second = LabelCache(embedder, 1 << 20, Metrics(), LabelSets(engine))
    loaded = await second.get(SPEC, MORE, SOON, stored.ref)
    assert len(encoder.text_batches) == batches
    np.testing.assert_array_equal(loaded.matrix, made.matrix)
    assert loaded.truncated_prompts == made.truncated_prompts


async def test_another_fingerprint_makes_other_embeddings(engine, embedder, encoder):
    stored, _ = await LabelSets(engine).put("pets", PETS)
    cache = LabelCache(embedder, 1 << 20, Metrics(), LabelSets(engine))
    await cache.get(SPEC, PETS, SOON, stored.ref)
    batches = len(encoder.text_batches)
    await cache.get(SPEC.__class__(**(SPEC.__dict__ | {"fingerprint": "0" * 64})), PETS, SOON, stored.ref)
    assert len(encoder.text_batches) > batches
    assert len(await engine.documents("labels/embeddings/pets/1/")) == 2


async def test_a_label_set_that_is_deleted_while_it_is_used_leaves_nothing_behind(engine, embedder):
    label_sets = LabelSets(engine)
    stored, _ = await label_sets.put("pets", PETS)
    await label_sets.delete(stored.ref)
    cache = LabelCache(embedder, 1 << 20, Metrics(), label_sets)
    loaded = await cache.get(SPEC, PETS, SOON, stored.ref)
    assert loaded.matrix.shape[0] == 2
    assert [it.key for it in await engine.documents("labels/")] == ["labels/head/pets"]


async def test_none_of_the_above_is_scored_like_a_label(engine, embedder, picture):
    cache = LabelCache(embedder, 1 << 20, Metrics(), LabelSets(engine))
    classifier = Classifier(await fake_models(), embedder, cache)
    outcome = await classifier.classify(
        "", [picture(1)], MORE, top_k=10, mode=ScoreMode.SOFTMAX, deadline=SOON
    )
    scores = {score.label: score for score in outcome.items[0].scores}
    assert set(scores) == {"dog", "cat", "bird", "nothing"}
    assert scores["nothing"].index == 3
    assert scores["nothing"].above_threshold == (scores["nothing"].cosine >= 0.05)
    assert sum(score.probability for score in scores.values()) == pytest.approx(1)


async def test_a_page_has_what_is_written_of_the_latest_versions(label_sets):
    await label_sets.put("pets", MORE)
    await label_sets.put("pets", PETS)
    page = await label_sets.page("", 10, lambda stored: (stored.ref, len(stored.labels.names)))
    assert page == [(LabelSetRef("pets", 2), 2)]


async def test_the_cache_of_label_sets_is_bounded_by_bytes(engine, monkeypatch):
    monkeypatch.setattr("clipserve_gateway.collection.label_sets.CACHE_BYTES", 10_000)
    label_sets = LabelSets(engine)
    sizes = {"first": 6_000, "second": 6_000, "too_large": 20_000}
    for name, size in sizes.items():
        await label_sets.put(name, LabelSet((name + "a" * size,), ("{}",)))
    for name in sizes:
        await label_sets.resolve(None, LabelSetRef(name))
    assert [ref.name for ref in label_sets._cache] == ["second"]
