from __future__ import annotations

import asyncio

import numpy as np
import pytest
from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.inference.label_cache import LabelCache
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.settings import Settings
from clipserve_gateway.types import LabelSet

from testing.fakes import SPEC, FakeEncoder, fake_models

SOON = Deadline.after(3600)
PETS = LabelSet(("dog", "cat"), ("a photo of a {}.", "a drawing of a {}."))


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def cache(embedder, metrics):
    return LabelCache(embedder, 1 << 20, metrics)


async def test_a_label_is_the_normalized_mean_of_its_normalized_prompts(cache, embedder):
    built = await cache.get(SPEC, PETS, SOON)
    for row, name in zip(built.matrix, PETS.names, strict=True):
        prompts = [template.replace("{}", name) for template in PETS.templates]
        parts = [item.embedding for item in (await embedder.embed("", prompts, deadline=SOON)).items]
        mean = np.mean(parts, axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


async def test_a_second_call_encodes_nothing(cache, encoder, metrics):
    first = await cache.get(SPEC, PETS, SOON)
    batches = len(encoder.text_batches)
    second = await cache.get(SPEC, PETS, SOON)
    assert second is first
    assert len(encoder.text_batches) == batches
    assert metrics.label_cache_hits._value.get() == 1
    assert metrics.label_cache_misses._value.get() == 1
    assert metrics.label_cache_bytes._value.get() >= first.matrix.nbytes


async def test_order_templates_and_model_make_different_entries(cache, encoder):
    first = await cache.get(SPEC, PETS, SOON)
    turned = await cache.get(SPEC, LabelSet(PETS.names[::-1], PETS.templates), SOON)
    np.testing.assert_array_equal(turned.matrix, first.matrix[::-1])
    other = SPEC.__class__(**(SPEC.__dict__ | {"fingerprint": "0" * 64}))
    batches = len(encoder.text_batches)
    await cache.get(other, PETS, SOON)
    assert len(encoder.text_batches) > batches


async def test_a_changed_set_encodes_only_its_new_labels(cache, encoder):
    await cache.get(SPEC, PETS, SOON)
    encoder.text_batches.clear()
    await cache.get(SPEC, LabelSet(("dog", "bird", "cat"), PETS.templates), SOON)
    assert sum(count for count, _ in encoder.text_batches) == len(PETS.templates)


async def test_callers_at_the_same_time_share_one_build(pool, metrics):
    encoder = FakeEncoder(delay=0.05)
    embedder = Embedder(await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    cache = LabelCache(embedder, 1 << 20, metrics)
    entries = await asyncio.gather(*(cache.get(SPEC, PETS, SOON) for _ in range(8)))
    assert all(entry is entries[0] for entry in entries)
    assert sum(count for count, _ in encoder.text_batches) == 4
    assert metrics.label_cache_coalesced._value.get() == 7


async def test_one_callers_deadline_does_not_end_the_build_of_another(pool, metrics):
    encoder = FakeEncoder(delay=0.3)
    embedder = Embedder(await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    cache = LabelCache(embedder, 1 << 20, metrics)
    hasty = asyncio.ensure_future(cache.get(SPEC, PETS, Deadline.after(0.05)))
    patient = asyncio.ensure_future(cache.get(SPEC, PETS, SOON))
    with pytest.raises(errors.DeadlineExceeded):
        await hasty
    assert (await patient).matrix.shape == (2, SPEC.embed_dim)


async def test_a_build_that_nobody_waits_for_is_cancelled(pool, metrics):
    encoder = FakeEncoder(delay=30)
    embedder = Embedder(await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    cache = LabelCache(embedder, 1 << 20, metrics)
    call = asyncio.ensure_future(cache.get(SPEC, PETS, SOON))
    while not encoder.text_batches:
        await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.wait([call])
    await asyncio.sleep(0.01)
    assert encoder.cancelled == 1


async def test_the_bytes_kept_never_exceed_the_bound(embedder, metrics):
    cache = LabelCache(embedder, 4096, metrics)
    for i in range(50):
        await cache.get(SPEC, LabelSet((f"label {i}", f"other {i}"), ("{}",)), SOON)
        assert metrics.label_cache_bytes._value.get() <= 4096


async def test_a_set_larger_than_the_cache_is_answered_all_the_same(embedder, metrics):
    cache = LabelCache(embedder, 0, metrics)
    assert (await cache.get(SPEC, PETS, SOON)).matrix.shape == (2, SPEC.embed_dim)


async def test_truncated_prompts_are_counted(cache):
    built = await cache.get(SPEC, LabelSet(("dog", "word " * 100), ("a {}", "the {}")), SOON)
    assert built.truncated_prompts == 2


MANY = LabelSet(tuple(f"label {i}" for i in range(300)), ("a {}", "the {}", "{}", "one {}"))


async def test_labels_are_prepared_step_by_step_and_then_known(cache, encoder, metrics):
    seen = []
    while not seen or seen[-1].done < seen[-1].total:
        seen.append(await cache.prepare(SPEC, MANY, SOON, seconds=0))
    assert [(step.done, step.total, step.encoded) for step in seen] == [
        (512, 1200, 512),
        (1024, 1200, 512),
        (1200, 1200, 176),
    ]
    encoder.text_batches.clear()
    assert (await cache.get(SPEC, MANY, SOON)).matrix.shape == (300, SPEC.embed_dim)
    assert (await cache.prepare(SPEC, MANY, SOON, seconds=0)).encoded == 0
    assert encoder.text_batches == []


async def test_prepared_labels_are_those_that_would_be_encoded(cache, embedder):
    await cache.prepare(SPEC, MANY, SOON, seconds=0)
    whole = await cache.get(SPEC, MANY, SOON)
    alone = await LabelCache(embedder, 1 << 20, Metrics()).get(SPEC, MANY, SOON)
    np.testing.assert_allclose(whole.matrix, alone.matrix, atol=1e-6)


async def test_labels_that_do_not_fit_into_memory_are_told_and_encoded_all_the_same(embedder):
    cache = LabelCache(embedder, 0, Metrics())
    first = await cache.prepare(SPEC, MANY, SOON, seconds=3600)
    assert (first.done, first.encoded) == (0, 1200)
    assert (await cache.get(SPEC, MANY, SOON)).matrix.shape == (300, SPEC.embed_dim)


async def test_preparing_ends_with_the_callers_time(cache):
    with pytest.raises(errors.DeadlineExceeded):
        await cache.prepare(SPEC, MANY, Deadline.after(0), seconds=1)
