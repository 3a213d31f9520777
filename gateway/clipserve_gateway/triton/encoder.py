"""The interface to the models, implemented by Triton's client and by a fake in the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np

from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.types import Floats, Ids, ModelSpec, Pixels, Tower

Rows: TypeAlias = Pixels | Ids
"""A batch of images or of texts."""


class Encoder(Protocol):
    """Encodes batches that are not larger than the model's batch limits.

    Raises ModelUnavailable, Overloaded, DeadlineExceeded or InferenceFailed; after InferenceFailed, a smaller
    batch may succeed. A row of the answer may contain numbers that are not finite.
    """

    async def encode(self, spec: ModelSpec, tower: Tower, rows: Rows, deadline: Deadline) -> Floats:
        """Encodes pixels uint8 [B, S, S, 3], or token ids int32 [B, L] padded with pad_id.

        Returns float32 [B, D], not normalized.
        """


class QueueingEncoder(Encoder, Protocol):
    """An encoder that queues its work."""

    def check(self, spec: ModelSpec, tower: Tower, rows: int, deadline: Deadline) -> None:
        """Raises Overloaded if the answer for `rows` rows would come after the deadline."""

    def bounds_bulk(self, spec: ModelSpec, tower: Tower) -> bool:
        """Returns whether bulk work at a tower is limited, so that it need not be prepared far ahead."""


def padded(spec: ModelSpec, ids: Sequence[Ids]) -> Ids:
    """Stacks texts to int32 [B, L], padded with the model's pad_id.

    L is the longest length, at least 1, or the model's fixed length. Padding has no influence: towers without
    a fixed length are causal and read the embedding at the end token, or ignore the token pad_id.
    """
    length = spec.context_length if spec.fixed_text_length else max(1, *map(len, ids))
    batch = np.full((len(ids), length), spec.tokenizer.pad_id, np.int32)
    for row, text in zip(batch, ids, strict=True):
        row[: len(text)] = text
    return batch


def stacked(batches: Sequence[Rows], pad_id: int) -> Rows:
    """Concatenates the rows of several batches. Shorter texts are padded with `pad_id`."""
    if len(batches) == 1:
        return batches[0]
    longest = max(batch.shape[1] for batch in batches)
    shape = (sum(map(len, batches)), longest, *batches[0].shape[2:])
    rows, first = np.full(shape, pad_id, batches[0].dtype), 0
    for batch in batches:
        rows[first : first + len(batch), : batch.shape[1]] = batch
        first += len(batch)
    return rows
