"""The seam to the models: two methods, implemented by Triton and by a fake in the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np

from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.types import Floats, Ids, ModelSpec, Pixels, Tower

Rows: TypeAlias = Pixels | Ids
"""A batch of images or of texts."""


class Encoder(Protocol):
    """Encodes batches no larger than the model's own batch limits.

    Both methods raise ModelUnavailable, Overloaded, DeadlineExceeded or InferenceFailed; after
    InferenceFailed, a smaller batch may succeed. A row may hold numbers that are not finite.
    """

    async def encode_image(self, spec: ModelSpec, pixels: Pixels, deadline: Deadline) -> Floats:
        """Pixels uint8 [B, S, S, 3] → raw (not normalized) float32 [B, D]."""
        ...

    async def encode_text(self, spec: ModelSpec, ids: Ids, deadline: Deadline) -> Floats:
        """Token ids int32 [B, L], rows padded with 0 after their end → raw float32 [B, D]."""
        ...


class QueueingEncoder(Encoder, Protocol):
    """An encoder with a queue of its own."""

    def check(self, spec: ModelSpec, tower: Tower, rows: int, deadline: Deadline) -> None:
        """Raises Overloaded where so many rows, sent now, would come back after the deadline."""
        ...

    def bounds_bulk(self, spec: ModelSpec, tower: Tower) -> bool:
        """Whether bulk work gets little of a tower at a time, so that it need not be prepared long before."""
        ...


def padded(spec: ModelSpec, ids: Sequence[Ids]) -> Ids:
    """Texts as one int32 [B, L], filled up with 0; L is the longest text's length, or the model's own.

    In causal towers that read their embedding at the end token, what follows it has no influence.
    """
    length = spec.context_length if spec.fixed_text_length else max(len(row) for row in ids)
    batch = np.zeros((len(ids), length), np.int32)
    for row, text in zip(batch, ids, strict=True):
        row[: len(text)] = text
    return batch


def stacked(batches: Sequence[Rows]) -> Rows:
    """The rows of several batches below each other; of texts, shorter ones are filled up with 0."""
    if len(batches) == 1:
        return batches[0]
    longest = max(batch.shape[1] for batch in batches)
    shape = (sum(map(len, batches)), longest, *batches[0].shape[2:])
    rows, first = np.zeros(shape, batches[0].dtype), 0
    for batch in batches:
        rows[first : first + len(batch), : batch.shape[1]] = batch
        first += len(batch)
    return rows
