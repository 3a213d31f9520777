"""Stored embeddings of texts are computed once for each model, also across restarts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clipserve.labels import NAMES, ONLY_MEASURED, label_set, vocabulary
from clipserve_gateway.collection.reference_texts import reference_digest, reference_list
from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.inference import text_store
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.inference.label_cache import LabelCache, names_digest
from clipserve_gateway.inference.negative_words import negative_digest, negative_prompts
from clipserve_gateway.inference.text_store import (
    TEXT_VERSION,
    FixedTexts,
    TextEmbeddings,
    TextStore,
    document_key,
    known_texts,
    shipped_embeddings,
)
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.types import LabelSet, NoneOfTheAbove

from testing.domain import SOON
from testing.fakes import SPEC, FakeEncoder
from testing.memory_engine import MemoryEngine

ROOT = Path(__file__).parents[3]
SETS = (*NAMES, *ONLY_MEASURED)
CIFAR10 = LabelSet(label_set("cifar10").names, label_set("cifar10").templates)


@pytest.fixture(params=["memory", "lance"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    engine = MemoryEngine() if request.param == "memory" else LanceEngine(str(tmp_path))
    yield engine
    await engine.close()


def started(embedder: Embedder, engine: Engine) -> LabelCache:
    """A gateway's cache after its start: empty, and with the store."""
    return LabelCache(embedder, 1 << 20, Metrics(), None, TextStore(engine))


async def test_a_known_label_set_is_encoded_once_and_found_after_a_restart(
    engine: Engine, embedder: Embedder, encoder: FakeEncoder
) -> None:
    made = await started(embedder, engine).get(SPEC, CIFAR10, SOON)
    assert sum(count for count, _ in encoder.text_batches) == 180
    encoder.text_batches.clear()
    embeddings = await started(embedder, engine).get(SPEC, CIFAR10, SOON)
    assert encoder.text_batches == []
    np.testing.assert_array_equal(embeddings.matrix, made.matrix)
    assert embeddings.truncated_prompts == made.truncated_prompts


async def test_an_answer_for_none_of_them_is_put_behind_the_kept_names(
    engine: Engine, embedder: Embedder, encoder: FakeEncoder
) -> None:
    made = await started(embedder, engine).get(SPEC, CIFAR10, SOON)
    encoder.text_batches.clear()
    with_none = replace(CIFAR10, none_of_the_above=NoneOfTheAbove("nothing", ("a photo.", "a drawing.")))
    embeddings = await started(embedder, engine).get(SPEC, with_none, SOON)
    assert sum(count for count, _ in encoder.text_batches) == 2
    np.testing.assert_array_equal(embeddings.matrix[:-1], made.matrix)
    assert np.linalg.norm(embeddings.matrix[-1]) == pytest.approx(1, abs=1e-6)


async def test_a_set_like_a_kept_one_encodes_only_what_is_new_in_it(
    engine: Engine, embedder: Embedder, encoder: FakeEncoder
) -> None:
    made = await started(embedder, engine).get(SPEC, CIFAR10, SOON)
    cache = started(embedder, engine)
    await cache.get(SPEC, CIFAR10, SOON)
    encoder.text_batches.clear()
    embeddings = await cache.get(SPEC, replace(CIFAR10, names=("bear", *CIFAR10.names[2:])), SOON)
    assert sum(count for count, _ in encoder.text_batches) == len(CIFAR10.templates)
    np.testing.assert_array_equal(embeddings.matrix[1:], made.matrix[2:])


async def test_another_model_and_other_prompts_are_embedded_anew(
    engine: Engine, embedder: Embedder, encoder: FakeEncoder
) -> None:
    await started(embedder, engine).get(SPEC, CIFAR10, SOON)
    for spec, labels in (
        (replace(SPEC, fingerprint="0" * 64), CIFAR10),
        (SPEC, replace(CIFAR10, templates=CIFAR10.templates[:2])),
    ):
        encoder.text_batches.clear()
        await started(embedder, engine).get(spec, labels, SOON)
        assert encoder.text_batches != []


async def test_labels_of_callers_are_not_kept(engine: Engine, embedder: Embedder) -> None:
    await started(embedder, engine).get(SPEC, LabelSet(("cat", "dog"), ("a {}",)), SOON)
    assert await engine.documents("") == []


async def test_kept_labels_need_no_preparation(
    engine: Engine, embedder: Embedder, encoder: FakeEncoder
) -> None:
    first = await started(embedder, engine).prepare(SPEC, CIFAR10, SOON, seconds=1)
    assert (first.total, first.done, first.encoded) == (180, 180, 180)
    encoder.text_batches.clear()
    again = await started(embedder, engine).prepare(SPEC, CIFAR10, SOON, seconds=1)
    assert (again.total, again.done, again.encoded) == (180, 180, 0)
    assert encoder.text_batches == []


async def test_a_store_that_cannot_be_written_fails_no_call(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = MemoryEngine()

    async def full(*args: object, **options: object) -> bool:
        raise StorageFailed("the disk is full")

    monkeypatch.setattr(engine, "put_document", full)
    assert (await started(embedder, engine).get(SPEC, CIFAR10, SOON)).matrix.shape == (10, SPEC.embed_dim)


async def test_a_document_of_another_size_is_not_believed(embedder: Embedder) -> None:
    engine = MemoryEngine()
    key = document_key(SPEC.fingerprint, names_digest(CIFAR10))
    await engine.put_document(key, b"\0" * 44, version=0)
    assert (await started(embedder, engine).get(SPEC, CIFAR10, SOON)).matrix.shape == (10, SPEC.embed_dim)


async def test_what_comes_along_is_neither_made_nor_written(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, shipped = MemoryEngine(), TextEmbeddings(np.eye(2, SPEC.embed_dim, dtype=np.float32), 0)
    monkeypatch.setattr(
        text_store, "shipped_embeddings", lambda: {document_key(SPEC.fingerprint, "d"): shipped}
    )

    async def made() -> TextEmbeddings:
        raise AssertionError("nothing is to be made")

    assert await TextStore(engine).get_or_make(SPEC.fingerprint, "d", (2, SPEC.embed_dim), made) is shipped
    assert await engine.documents("") == []


async def test_what_comes_along_is_not_taken_for_a_model_of_another_dimension(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipped = TextEmbeddings(np.eye(2, 8, dtype=np.float32), 0)
    monkeypatch.setattr(text_store, "shipped_embeddings", lambda: {document_key("f", "d"): shipped})
    store = TextStore(MemoryEngine())
    assert await store.load("f", "d", (2, 8)) is shipped
    assert await store.load("f", "d", (2, 4)) is None
    assert await store.load("f", "d", (3, 8)) is None


async def test_fixed_texts_of_one_fingerprint_in_two_dimensions_are_kept_apart() -> None:
    texts = fixed(TextStore(MemoryEngine()))

    def embedding(dim: int) -> Callable[[Sequence[str], Deadline], Awaitable[TextEmbeddings]]:
        async def embed(some: Sequence[str], deadline: Deadline) -> TextEmbeddings:
            return TextEmbeddings(np.ones((len(some), dim), np.float32), 0)

        return embed

    for dim in (4, 8, 4):
        assert (await texts.get("f", dim, lambda: SOON, embedding(dim))).shape == (2, dim)


async def test_labels_of_one_fingerprint_in_two_dimensions_are_kept_apart(embedder: Embedder) -> None:
    cache = started(embedder, MemoryEngine())
    pets = LabelSet(("cat", "dog"), ("a {}",))
    await cache.get(SPEC, pets, SOON)
    prepared = await cache.prepare(replace(SPEC, embed_dim=4), pets, SOON, seconds=1)
    assert prepared.encoded == 2, "not those of the other model"


def test_the_known_texts_are_those_of_the_sdk() -> None:
    sets = {name: vocabulary(name).label_set() for name in SETS}
    digests = {name: names_digest(LabelSet(one.names, one.templates)) for name, one in sets.items()}
    assert {name: known_texts()[name] for name in SETS} == digests


def test_the_embeddings_that_come_along_are_of_the_demo_model_and_of_all_known_texts() -> None:
    config = (ROOT / "model_repository/demo_text/config.pbtxt").read_text()
    fingerprint = re.search(r'"fingerprint" value \{ string_value: "(\w{64})"', config)[1]
    wanted = {document_key(fingerprint, digest) for digest in known_texts().values()}
    assert set(shipped_embeddings()) == wanted, "run exporter/training/embed_labels.py"
    for name in SETS:
        matrix = shipped_embeddings()[document_key(fingerprint, known_texts()[name])].matrix
        assert matrix.shape == (len(vocabulary(name).label_set().names), 256)
        assert matrix.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-5)


def test_the_prompts_that_come_along_are_those_that_are_asked_for() -> None:
    config = (ROOT / "model_repository/demo_text/config.pbtxt").read_text()
    fingerprint = re.search(r'"fingerprint" value \{ string_value: "(\w{64})"', config)[1]
    lists = {
        "reference": (reference_digest(), reference_list()),
        "negative": (negative_digest(), negative_prompts()),
    }
    for name, (digest, prompts) in lists.items():
        assert known_texts()[name] == digest, "run exporter/training/embed_prompts.py"
        matrix = shipped_embeddings()[document_key(fingerprint, digest)].matrix
        assert matrix.shape == (len(prompts), 256)
        assert matrix.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=2e-3)


def test_other_token_ids_need_another_text_version() -> None:
    golden = json.loads((ROOT / "tests/golden/tokens.json").read_text())
    digest = hashlib.sha256(json.dumps([row["ids"] for row in golden]).encode()).hexdigest()
    assert (TEXT_VERSION, digest[:16]) == (1, "181091b80d713ad2")


def fixed(store: TextStore | None, texts: tuple[str, ...] = ("a", "b")) -> FixedTexts[np.ndarray]:
    return FixedTexts(texts, "digest", store, lambda matrix: matrix)


class CountingEmbedder:
    """Embeds every text as the same vector, and counts calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, texts: Sequence[str], deadline: Deadline) -> TextEmbeddings:
        self.calls += 1
        await asyncio.sleep(0)
        return TextEmbeddings(np.ones((len(texts), 4), np.float32), 0)


async def test_callers_of_one_model_share_the_embeddings_of_fixed_texts() -> None:
    texts, embed = fixed(TextStore(MemoryEngine())), CountingEmbedder()
    first, second, other = await asyncio.gather(
        *(texts.get(fingerprint, 4, lambda: SOON, embed) for fingerprint in ("f", "f", "g"))
    )
    assert embed.calls == 2, "one for each model"
    assert first is second
    assert other is not first


async def test_fixed_texts_are_found_in_the_store_after_a_restart() -> None:
    engine, embed = MemoryEngine(), CountingEmbedder()
    made = await fixed(TextStore(engine)).get("f", 4, lambda: SOON, embed)
    found = await fixed(TextStore(engine)).get("f", 4, lambda: SOON, embed)
    assert embed.calls == 1
    np.testing.assert_array_equal(found, made)


@pytest.mark.parametrize("broken", ["get_document", "put_document"])
async def test_a_store_that_fails_only_costs_the_saved_work(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    engine, embed = MemoryEngine(), CountingEmbedder()

    async def fail(*args: object, **options: object) -> None:
        raise StorageFailed("the disk is broken")

    monkeypatch.setattr(engine, broken, fail)
    texts = fixed(TextStore(engine))
    assert (await texts.get("f", 4, lambda: SOON, embed)).shape == (2, 4)
    await texts.get("f", 4, lambda: SOON, embed)
    assert embed.calls == 1, "kept in memory"
