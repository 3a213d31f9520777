"""Texts that queries are compared with: everyday things, and strings that mean nothing.

A text tower places everything it was not taught (scripts it cannot read, random letters, numbers) near one
another. So a query that lies near strings without a meaning says little, whatever its cosines are.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from cachetools import LRUCache

from clipserve_gateway.collection.embedding import CollectionEmbedder
from clipserve_gateway.collection.spec import Generation
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.shared_work import LatestDeadline, SharedWork
from clipserve_gateway.inference.embedding_rows import directions, rows_of
from clipserve_gateway.inference.text_store import TextEmbeddings, TextStore, content_key, data_lines
from clipserve_gateway.types import Floats

MODELS = 16
"""Models whose reference texts are kept in memory: about a megabyte each."""


class ReferencePrompts(NamedTuple):
    """The texts themselves."""

    everyday: tuple[str, ...]
    """A few hundred things that people look for, of all kinds."""
    nonsense: tuple[str, ...]
    """A few hundred strings without a meaning: letters of many scripts, digits, signs, filler words."""


@functools.cache
def reference_prompts() -> ReferencePrompts:
    """The texts that come with this package."""
    everyday = tuple(f"a photo of {line}" for line in data_lines("everyday.txt"))
    return ReferencePrompts(everyday, data_lines("nonsense.txt"))


def reference_list() -> tuple[str, ...]:
    """Everyday texts, then nonsense."""
    return (*reference_prompts().everyday, *reference_prompts().nonsense)


def reference_digest() -> str:
    """Names the texts in the store."""
    return content_key("reference", reference_list())


@dataclass(frozen=True)
class ReferenceTexts:
    """Their embeddings by one model: normalized float32 [N, D] each."""

    everyday: Floats
    nonsense: Floats

    @functools.cached_property
    def _center(self) -> Floats:
        """What the embeddings of all texts have in common, float32 [D]."""
        center: Floats = self.everyday.mean(axis=0)
        return center

    @functools.cached_property
    def _nonsense_directions(self) -> Floats:
        return directions(self.nonsense - self._center)

    def meaning(self, queries: Floats) -> Floats:
        """How far queries (normalized float32 [B, D]) are from any nonsense, float32 [B].

        1 − cosine with the nearest nonsense text, 0 … 1, both taken from the mean of everyday texts: 0 means
        that the model sees no difference from nonsense.
        """
        nearest = (directions(queries - self._center) @ self._nonsense_directions.T).max(axis=1)
        meaning: Floats = 1 - np.clip(nearest, 0, 1)
        return meaning


class ReferenceTextCache:
    """Reference texts of each model: embedded once, kept in memory and in the store."""

    def __init__(self, embedder: CollectionEmbedder, store: TextStore) -> None:
        self._embedder = embedder
        self._store = store
        self._known: LRUCache[str, ReferenceTexts] = LRUCache(MODELS)
        self._loading: SharedWork[ReferenceTexts] = SharedWork()

    async def get(self, collection: str, generation: Generation, deadline: Deadline) -> ReferenceTexts:
        """Those of the model that made a collection's embeddings.

        Raises FingerprintMismatch where the model has been replaced, and what embedding raises.
        """
        fingerprint = generation.fingerprint
        found = self._known.get(fingerprint)
        if found is None:

            async def build(latest: LatestDeadline) -> ReferenceTexts:
                return await self._load(collection, generation, latest())

            found = self._known[fingerprint] = await self._loading.run_one(fingerprint, deadline, build)
        return found

    async def _load(self, collection: str, generation: Generation, deadline: Deadline) -> ReferenceTexts:
        spec = self._embedder.model(collection, generation)
        texts = reference_list()

        async def make() -> TextEmbeddings:
            items = await self._embedder.embed(collection, generation, texts, deadline)
            return TextEmbeddings(rows_of(items), sum(item.truncated for item in items))

        found = await self._store.get_or_make(spec, reference_digest(), len(texts), make)
        split = len(reference_prompts().everyday)
        return ReferenceTexts(found.matrix[:split], found.matrix[split:])
