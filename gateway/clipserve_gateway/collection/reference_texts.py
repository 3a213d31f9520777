"""Reference texts, with which text queries are compared: everyday things, and strings without a meaning.

A text tower embeds everything that it was not trained on (unknown scripts, random letters, numbers) close
together. So a query that lies near strings without a meaning says little, whatever its cosines are.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clipserve_gateway.inference.embedding_rows import directions
from clipserve_gateway.inference.text_store import FixedTexts, TextStore, content_key, data_lines
from clipserve_gateway.types import Floats


class ReferencePrompts(NamedTuple):
    """The reference texts."""

    everyday: tuple[str, ...]
    """A few hundred things that people search for, of all kinds."""
    nonsense: tuple[str, ...]
    """A few hundred strings without a meaning: letters of many scripts, digits, punctuation, filler words."""


@functools.cache
def reference_prompts() -> ReferencePrompts:
    """The texts that this package ships."""
    everyday = tuple(f"a photo of {line}" for line in data_lines("everyday.txt"))
    return ReferencePrompts(everyday, data_lines("nonsense.txt"))


def reference_list() -> tuple[str, ...]:
    """Everyday texts, followed by nonsense."""
    return (*reference_prompts().everyday, *reference_prompts().nonsense)


def reference_digest() -> str:
    """Identifies the texts in the store."""
    return content_key("reference", reference_list())


@dataclass(frozen=True)
class ReferenceTexts:
    """The embeddings of the reference texts by one model: normalized float32 [N, D] each."""

    everyday: Floats
    nonsense: Floats

    @functools.cached_property
    def _center(self) -> Floats:
        """The mean of the everyday texts, float32 [D]: what the embeddings of all texts have in common."""
        center: Floats = self.everyday.mean(axis=0)
        return center

    @functools.cached_property
    def _nonsense_directions(self) -> Floats:
        return directions(self.nonsense - self._center)

    def meaning(self, queries: Floats) -> Floats:
        """How far queries (normalized float32 [B, D]) are from the nearest nonsense, float32 [B], 0…1.

        1 − cosine with the nearest nonsense text, both relative to the mean of everyday texts: 0 means that
        the model cannot distinguish the query from nonsense.
        """
        nearest = (directions(queries - self._center) @ self._nonsense_directions.T).max(axis=1)
        meaning: Floats = 1 - np.clip(nearest, 0, 1)
        return meaning


def reference_texts(store: TextStore) -> FixedTexts[ReferenceTexts]:
    """The embeddings of reference_list(), which are kept once per model."""
    split = len(reference_prompts().everyday)
    return FixedTexts(
        reference_list(),
        reference_digest(),
        store,
        lambda matrix: ReferenceTexts(matrix[:split], matrix[split:]),
    )
