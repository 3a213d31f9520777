"""Label embeddings: built from prompts, kept in memory, shared by the calls that need them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from cachetools import Cache, LRUCache

from clipserve_gateway import stages
from clipserve_gateway.concurrency import SingleFlight
from clipserve_gateway.deadline import Deadline
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.label_warnings import LabelWarning, find_warnings
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.text_store import TextEmbeddings, TextStore, content_key, known_texts
from clipserve_gateway.types import Embedded, Floats, LabelSet, LabelSetRef, ModelSpec

PROMPTS_PER_ITEM = 10
"""Prompts that had to be encoded count for one item of a caller's rate; those that are known cost nothing."""
PROMPTS_PER_STEP = 2048
"""Prompts embedded between two looks at the deadline; what is done by then is kept for the next caller."""


LABELS_AT_ONCE = 128
"""Labels whose prompts are averaged before others get the event loop: some 5 ms."""

LABEL_OVERHEAD = 512
"""Bytes a cached label takes beside its numbers: key, objects and their place in the table (estimated)."""


class TextEmbedder(Protocol):
    """Embeds texts with a model."""

    async def embed_texts(self, spec: ModelSpec, texts: Sequence[str], deadline: Deadline) -> list[Embedded]:
        """Raw embeddings in order."""
        ...


@dataclass(frozen=True)
class LabelEmbeddings:
    """Normalized float32 [L, D], how many prompts were cut at the model's context, and what to tell."""

    matrix: Floats
    truncated_prompts: int
    warnings: tuple[LabelWarning, ...] = ()


@dataclass(frozen=True)
class _Label:
    """One label's normalized embedding, float32 [D]."""

    embedding: Floats
    truncated_prompts: int
    name_bytes: int
    """Of its key in the cache."""


class EmbeddingStore(Protocol):
    """Keeps the embeddings of named label sets."""

    async def embeddings(self, ref: LabelSetRef, spec: ModelSpec, rows: int) -> LabelEmbeddings | None:
        """The embeddings kept for a model, if there are any of as many rows."""
        ...

    async def keep_embeddings(self, ref: LabelSetRef, spec: ModelSpec, found: LabelEmbeddings) -> None:
        """Keeps the embeddings for a model."""
        ...


class LabelCache:
    """Label embeddings by content: (labels in order, templates, model and its version).

    A third of the bytes holds whole label sets, ready to multiply; a third those that have a name, so that
    no other ones push them out; a third single labels, so that a changed set encodes only what is new in
    it. Named sets are looked for in the store too, and put there; so are those that come with the SDK.
    """

    def __init__(
        self,
        embedder: TextEmbedder,
        max_bytes: int,
        metrics: Metrics,
        store: EmbeddingStore | None = None,
        texts: TextStore | None = None,
    ) -> None:
        self._embedder = embedder
        self._metrics = metrics
        self._store = store
        self._texts = texts
        self._sets: LRUCache[str, LabelEmbeddings] = LRUCache(max_bytes // 3, getsizeof=matrix_bytes)
        self._named: LRUCache[str, LabelEmbeddings] = LRUCache(max_bytes // 3, getsizeof=matrix_bytes)
        self._labels: LRUCache[tuple[str, str], _Label] = LRUCache(max_bytes // 3, getsizeof=label_bytes)
        self._flights: SingleFlight[LabelEmbeddings] = SingleFlight()

    async def get(
        self, spec: ModelSpec, labels: LabelSet, deadline: Deadline, ref: LabelSetRef | None = None
    ) -> LabelEmbeddings:
        """The embeddings of a label set's answers; one build at a time for each set.

        `ref` is the name and version under which the label set is kept, if it is.
        """
        none = labels.none_of_the_above
        key = content_key(
            spec.fingerprint, spec.version, labels.templates, labels.names, none and none.prompts
        )
        cache = self._sets if ref is None else self._named
        found = cache.get(key)
        stages.count("cache_hit", int(found is not None))
        if found is not None:
            self._metrics.label_cache_hits.inc()
            return found
        if key in self._flights:
            self._metrics.label_cache_coalesced.inc()
        else:
            self._metrics.label_cache_misses.inc()

        async def build(latest: Callable[[], Deadline]) -> LabelEmbeddings:
            start = time.perf_counter()
            built = await self._build_or_load(spec, labels, latest, ref)
            built = replace(built, warnings=await find_warnings(labels, spec.context_length))
            self._metrics.label_cache_build_seconds.observe(time.perf_counter() - start)
            remember(cache, key, built)
            size = self._sets.currsize + self._named.currsize + self._labels.currsize
            self._metrics.label_cache_bytes.set(size)
            return built

        return await self._flights.run(key, deadline, build)

    async def _build_or_load(
        self, spec: ModelSpec, labels: LabelSet, latest: Callable[[], Deadline], ref: LabelSetRef | None
    ) -> LabelEmbeddings:
        if ref is None or self._store is None:
            return await self._build(spec, labels, latest)
        found = await self._store.embeddings(ref, spec, len(labels.answers))
        if found is None:
            found = await self._build(spec, labels, latest)
            # They only save work later: a store that cannot be written must not fail a classification.
            with contextlib.suppress(ClipserveError):
                await self._store.keep_embeddings(ref, spec, found)
        return found

    async def _build(
        self, spec: ModelSpec, labels: LabelSet, latest: Callable[[], Deadline]
    ) -> LabelEmbeddings:
        names = await self._names(spec, labels, latest)
        if labels.none_of_the_above is None:
            return LabelEmbeddings(names.matrix, names.truncated)
        latest().check("encode")
        none = mean_label(await self._embedder.embed_texts(spec, labels.none_of_the_above.prompts, latest()))
        return LabelEmbeddings(
            np.vstack([names.matrix, none.embedding]), names.truncated + none.truncated_prompts
        )

    async def _names(
        self, spec: ModelSpec, labels: LabelSet, latest: Callable[[], Deadline]
    ) -> TextEmbeddings:
        """The embeddings of the names: kept ones, if these names and templates come with the SDK."""
        digest = names_digest(labels)
        if self._texts is None or digest not in known_texts().values():
            return await self._encode_names(spec, labels, latest)
        return await self._texts.get_or_make(
            spec, digest, len(labels.names), lambda: self._encode_names(spec, labels, latest)
        )

    async def _encode_names(
        self, spec: ModelSpec, labels: LabelSet, latest: Callable[[], Deadline]
    ) -> TextEmbeddings:
        prefix = content_key(spec.fingerprint, spec.version, labels.templates)
        entries = {name: self._labels.get((prefix, name)) for name in labels.names}
        missing = [name for name, entry in entries.items() if entry is None]
        step = max(1, PROMPTS_PER_STEP // len(labels.templates))
        for start in range(0, len(missing), step):
            names = missing[start : start + step]
            prompts = [template.replace("{}", name) for name in names for template in labels.templates]
            latest().check("encode")
            stages.add_work(len(prompts) / PROMPTS_PER_ITEM)
            embedded = await self._embedder.embed_texts(spec, prompts, latest())
            for i, name in enumerate(names):
                if i % LABELS_AT_ONCE == LABELS_AT_ONCE - 1:
                    await asyncio.sleep(0)
                of_label = embedded[i * len(labels.templates) : (i + 1) * len(labels.templates)]
                entries[name] = entry = mean_label(of_label, name)
                remember(self._labels, (prefix, name), entry)
        done = [entry for entry in entries.values() if entry is not None]
        return TextEmbeddings(
            np.stack([entry.embedding for entry in done]), sum(entry.truncated_prompts for entry in done)
        )


def names_digest(labels: LabelSet) -> str:
    """Equal where the names and the prompts they are put into are."""
    return content_key(labels.templates, labels.names)


def mean_label(prompts: Sequence[Embedded], name: str = "") -> _Label:
    """A label's embedding: normalized mean of its normalized prompt embeddings.

    As in CLIP's and open_clip's zero-shot classifiers. Raises the error of a prompt that has one.
    """
    for prompt in prompts:
        if prompt.error is not None:
            raise prompt.error
    rows = np.stack([prompt.embedding for prompt in prompts if prompt.embedding is not None])
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    mean = rows.mean(axis=0)
    mean = (mean / np.linalg.norm(mean)).astype(np.float32)
    return _Label(mean, sum(prompt.truncated for prompt in prompts), len(name.encode()))


def matrix_bytes(entry: LabelEmbeddings) -> int:
    """Bytes that label embeddings take."""
    return entry.matrix.nbytes


def label_bytes(entry: _Label) -> int:
    """Bytes that one label takes."""
    return entry.embedding.nbytes + entry.name_bytes + LABEL_OVERHEAD


def remember(cache: Cache, key: object, value: object) -> None:
    """Keeps a value unless it alone is larger than the cache."""
    if cache.getsizeof(value) <= cache.maxsize:
        cache[key] = value
