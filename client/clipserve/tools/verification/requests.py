"""Embeds inputs of one model, in requests of chosen sizes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from clipserve.client import Client
from clipserve.errors import ClipserveError
from clipserve.types import EmbedResult, Floats, ModelInfo

Kind = Literal["images", "texts"]


class ModelReplaced(Exception):
    """Another version of the model answers than at the beginning."""


@dataclass
class Rows:
    """Embeddings of a list of inputs."""

    vectors: Floats
    """float32 [N, D]; NaN for inputs that were refused."""
    truncated: set[int] = field(default_factory=set)
    """Positions of truncated texts."""
    errors: dict[int, ClipserveError] = field(default_factory=dict)
    """Errors by position."""


@dataclass(frozen=True, eq=False)
class Requests:
    """Sends inputs one request at a time."""

    client: Client
    model: ModelInfo
    limit: int
    """Most inputs of one request."""
    advance: Callable[[int], None]
    """Called with the number of inputs that were answered since the last call."""

    def embed(
        self, kind: Kind, inputs: Sequence[Any], sizes: Sequence[int], *, normalize: bool = False
    ) -> Rows:
        """The rows of all inputs, sent in requests of these sizes, again and again until all are sent."""
        call = self.client.embed_images if kind == "images" else self.client.embed_texts
        chunks = list(cut(len(inputs), [min(size, self.limit) for size in sizes]))
        answers = (
            call([inputs[i] for i in chunk], model=self.model.name, normalize=normalize, on_error="return")
            for chunk in chunks
        )
        return self._collect(len(inputs), zip(chunks, answers, strict=True))

    def stream(self, kind: Kind, inputs: Sequence[Any], size: int) -> Rows:
        """The rows of all inputs, sent in batches of this size over one stream."""
        chunks = list(cut(len(inputs), [min(size, self.limit)]))
        results = self.client.embed_stream(
            ([inputs[i] for i in chunk] for chunk in chunks),
            kind=kind,
            model=self.model.name,
            normalize=False,
            on_error="return",
        )
        return self._collect(len(inputs), zip(chunks, results, strict=True))

    def _collect(self, count: int, parts: Iterable[tuple[range, EmbedResult]]) -> Rows:
        rows = Rows(np.full((count, self.model.ref.embed_dim), np.nan, np.float32))
        for chunk, result in parts:
            if result.model is not None and result.model.fingerprint != self.model.ref.fingerprint:
                raise ModelReplaced
            if result.model is not None:
                rows.vectors[chunk.start : chunk.stop] = result.embeddings
            rows.truncated.update(chunk[i] for i in result.truncated)
            rows.errors.update({chunk[i]: error for i, error in result.errors.items()})
            self.advance(len(chunk))
        return rows


def cut(count: int, sizes: Sequence[int]) -> Iterator[range]:
    """Consecutive ranges of these sizes, again and again, that cover 0 … count - 1."""
    begin = 0
    for size in itertools.cycle(sizes):
        if begin >= count:
            return
        yield range(begin, min(begin + size, count))
        begin += size
