"""Builds label embeddings from prompts, caches them, and shares them among calls."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from dataclasses import replace
from typing import Protocol

import numpy as np
from cachetools import Cache, LRUCache

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow import stages
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.shared_work import LatestDeadline, SharedWork
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.inference.label_embeddings import (
    Label,
    LabelEmbeddings,
    Prepared,
    label_bytes,
    labels_prefix,
    matrix_bytes,
    mean_label,
    names_digest,
    set_key,
)
from clipserve_gateway.inference.label_warnings import find_warnings
from clipserve_gateway.inference.negative_words import embed_directions, far_words, negative_texts
from clipserve_gateway.inference.text_store import TextEmbeddings, TextStore, known_texts
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.types import LabelSet, LabelSetRef, ModelSpec

PROMPTS_PER_ITEM = 10
"""This many newly encoded prompts count as one item of a caller's rate; known prompts are free."""
PROMPTS_PER_STEP = 2048
"""Prompts embedded between two checks of the deadline. Finished embeddings are kept for the next call."""
PROMPTS_PER_REPORT = 512
"""The same for calls that report progress: a few seconds on a CPU."""
LABELS_AT_ONCE = 128
"""Labels that are averaged before other tasks get the event loop: about 5 ms."""


class EmbeddingStore(Protocol):
    """Stores embeddings of named label sets."""

    async def embeddings(self, ref: LabelSetRef, spec: ModelSpec, rows: int) -> LabelEmbeddings | None:
        """The stored embeddings for a model; None if there are none with this number of rows."""

    async def keep_embeddings(self, ref: LabelSetRef, spec: ModelSpec, embeddings: LabelEmbeddings) -> None:
        """Stores the embeddings for a model."""


class LabelCache:
    """Label embeddings by content: labels in order, templates, model and its version.

    A third of the bytes caches unnamed label sets as matrices. A third caches named label sets, so that
    unnamed ones do not displace them. A third caches single labels, so that a changed set encodes only its
    new labels. Named sets, and those that come with the SDK, are also read from and written to the store.
    """

    def __init__(
        self,
        embedder: Embedder,
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
        self._labels: LRUCache[tuple[str, str], Label] = LRUCache(max_bytes // 3, getsizeof=label_bytes)
        self._builds: SharedWork[LabelEmbeddings] = SharedWork(metrics.label_cache_coalesced.inc)
        self._negative_texts = negative_texts(texts)

    async def get(
        self, spec: ModelSpec, labels: LabelSet, deadline: Deadline, ref: LabelSetRef | None = None
    ) -> LabelEmbeddings:
        """The embeddings of a label set's answers. Calls for the same set share one build.

        `ref` is the name and version of a stored label set.
        """
        key = set_key(spec, labels)
        cache = self._sets if ref is None else self._named
        cached = cache.get(key)
        stages.count("cache_hit", int(cached is not None))
        if cached is not None:
            self._metrics.label_cache_hits.inc()
            return cached

        async def build(latest: LatestDeadline) -> LabelEmbeddings:
            self._metrics.label_cache_misses.inc()
            start = time.perf_counter()
            built = await self._build_or_load(spec, labels, latest, ref)
            if labels.needs_negative_words:
                embed = functools.partial(embed_directions, self._embedder, spec)
                words = await self._negative_texts.get(spec.fingerprint, spec.embed_dim, latest, embed)
                built = replace(built, negative=await asyncio.to_thread(far_words, words, built.matrix))
            built = replace(built, warnings=await find_warnings(labels, spec.tokenizer, latest()))
            self._metrics.label_cache_build_seconds.observe(time.perf_counter() - start)
            remember(cache, key, built)
            size = self._sets.currsize + self._named.currsize + self._labels.currsize
            self._metrics.label_cache_bytes.set(size)
            return built

        return await self._builds.run_one(key, deadline, build)

    async def _build_or_load(
        self, spec: ModelSpec, labels: LabelSet, latest: LatestDeadline, ref: LabelSetRef | None
    ) -> LabelEmbeddings:
        if ref is None or self._store is None:
            return await self._build(spec, labels, latest)
        embeddings = await self._store.embeddings(ref, spec, labels.rows)
        if embeddings is None:
            embeddings = await self._build(spec, labels, latest)
            # Stored embeddings only save work later, so a failed write must not fail the call.
            with contextlib.suppress(ClipserveError):
                await self._store.keep_embeddings(ref, spec, embeddings)
        return embeddings

    async def _build(self, spec: ModelSpec, labels: LabelSet, latest: LatestDeadline) -> LabelEmbeddings:
        names = await self._names(spec, labels, latest)
        if labels.none_of_the_above is None or labels.needs_negative_words:
            return LabelEmbeddings(names.matrix, names.truncated)
        latest().check("encode")
        none = mean_label(await self._embedder.embed_texts(spec, labels.none_of_the_above.prompts, latest()))
        return LabelEmbeddings(
            np.vstack([names.matrix, none.embedding]), names.truncated + none.truncated_prompts
        )

    async def _names(self, spec: ModelSpec, labels: LabelSet, latest: LatestDeadline) -> TextEmbeddings:
        """The embeddings of the names. If names and templates come with the SDK, stored ones are used."""
        digest = known_digest(labels)
        if self._texts is None or not digest:
            return await self._encode_names(spec, labels, latest)
        embeddings = await self._texts.get_or_make(
            spec.fingerprint,
            digest,
            (len(labels.names), spec.embed_dim),
            lambda: self._encode_names(spec, labels, latest),
        )
        if not embeddings.truncated:
            # Then a set that differs in some labels encodes only these.
            prefix = labels_prefix(spec, labels)
            for name, row in zip(labels.names, embeddings.matrix, strict=True):
                remember(self._labels, (prefix, name), Label(row, 0, len(name.encode())))
        return embeddings

    async def prepare(
        self,
        spec: ModelSpec,
        labels: LabelSet,
        deadline: Deadline,
        ref: LabelSetRef | None = None,
        *,
        seconds: float,
    ) -> Prepared:
        """Encodes labels whose embeddings are not known. After `seconds`, it starts no more of them."""
        encoded = 0
        total = len(labels.names) * len(labels.templates)
        if set_key(spec, labels) not in (self._sets if ref is None else self._named):
            if not await self._is_kept(spec, labels, ref):
                encoded = await self._encode_missing(
                    spec, labels, lambda: deadline, step=PROMPTS_PER_REPORT, until=Deadline.after(seconds)
                )
                left = sum(entry is None for entry in self._entries(spec, labels).values())
                if left:
                    return Prepared(total, total - left * len(labels.templates), encoded)
            await self.get(spec, labels, deadline, ref)
        return Prepared(total, total, encoded)

    async def _is_kept(self, spec: ModelSpec, labels: LabelSet, ref: LabelSetRef | None) -> bool:
        """Whether the embeddings are stored."""
        if ref is not None and self._store is not None:
            return await self._store.embeddings(ref, spec, labels.rows) is not None
        digest = known_digest(labels)
        if self._texts is None or not digest:
            return False
        return (
            await self._texts.load(spec.fingerprint, digest, (len(labels.names), spec.embed_dim)) is not None
        )

    def _entries(self, spec: ModelSpec, labels: LabelSet) -> dict[str, Label | None]:
        """The cached embedding of each label; None if it is not cached."""
        prefix = labels_prefix(spec, labels)
        return {name: self._labels.get((prefix, name)) for name in labels.names}

    async def _encode_names(
        self, spec: ModelSpec, labels: LabelSet, latest: LatestDeadline
    ) -> TextEmbeddings:
        entries = self._entries(spec, labels)
        await self._encode_missing(spec, labels, latest, entries)
        done = [entry for entry in entries.values() if entry is not None]
        return TextEmbeddings(
            np.stack([entry.embedding for entry in done]), sum(entry.truncated_prompts for entry in done)
        )

    async def _encode_missing(
        self,
        spec: ModelSpec,
        labels: LabelSet,
        latest: LatestDeadline,
        entries: dict[str, Label | None] | None = None,
        *,
        step: int = PROMPTS_PER_STEP,
        until: Deadline | None = None,
    ) -> int:
        """Encodes the labels without an entry, and adds them to `entries` and the cache.

        Encodes `step` prompts at a time, and after the first step starts none after `until`. Returns the
        number of encoded prompts.
        """
        entries = self._entries(spec, labels) if entries is None else entries
        prefix, templates = labels_prefix(spec, labels), labels.templates
        missing = [name for name, entry in entries.items() if entry is None]
        step = max(1, step // len(templates))
        encoded = 0
        for start in range(0, len(missing), step):
            if start and until is not None and until.remaining() <= 0:
                break
            names = missing[start : start + step]
            prompts = [template.replace("{}", name) for name in names for template in templates]
            latest().check("encode")
            stages.add_work(len(prompts) / PROMPTS_PER_ITEM)
            embedded = await self._embedder.embed_texts(spec, prompts, latest())
            encoded += len(prompts)
            for i, name in enumerate(names):
                if i % LABELS_AT_ONCE == LABELS_AT_ONCE - 1:
                    await asyncio.sleep(0)
                of_label = embedded[i * len(templates) : (i + 1) * len(templates)]
                entries[name] = entry = mean_label(of_label, name)
                remember(self._labels, (prefix, name), entry)
        return encoded


def known_digest(labels: LabelSet) -> str:
    """The labels' digest in the store of texts; empty if they do not come with the SDK."""
    digest = names_digest(labels)
    return digest if digest in known_texts().values() else ""


def remember(cache: Cache, key: object, value: object) -> None:
    """Caches a value, unless it is larger than the whole cache."""
    if cache.getsizeof(value) <= cache.maxsize:
        cache[key] = value
