"""How much padding a text needs. The kind of tower proposes the cheapest way, and a proof decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clipserve_exporter.ragged_text import RaggedText, end_of
from clipserve_exporter.samples import Texts, laid_out
from clipserve_exporter.source import Source
from clipserve_exporter.text_tower import tower_of, vocabulary_of

SPLIT_TOKENS = 64
"""See RaggedText.split_tokens."""
TOLERANCE = 1e-3
"""Largest accepted difference, relative to the length of the embedding: a cosine of at least 0.9999995."""


@dataclass(frozen=True)
class TextLength:
    """The length at which a tower encodes texts.

    Attributes:
        handling: `ragged`: each text ends at its end token, and later tokens have no influence; `masked`:
            padding is masked, so texts are padded only to the longest of their batch; `fixed`: padding
            influences the embedding, so all texts have the full length.
        reason: why a tower of another kind is `fixed`; otherwise empty.
    """

    handling: str
    reason: str = ""


def text_length_of(source: Source, fixed: bool = False) -> TextLength:
    """Returns the cheapest handling that gives open_clip's embeddings in float32.

    `fixed` chooses the full length without a proof.
    """
    if fixed:
        return TextLength("fixed", "as requested")
    end = end_of(source.model, source.tokenizer.pad_id)
    if end is None:
        return TextLength("fixed")
    if tower_of(source.model, source.context_length) is None:
        return TextLength("fixed", "this kind of tower encodes only texts of the full length")
    difference = largest_difference(source)
    if not difference <= TOLERANCE:
        return TextLength("fixed", f"shorter texts differ from padded ones by {difference:.2g}")
    return TextLength("masked" if end.rule == "padding" else "ragged")


def largest_difference(source: Source) -> float:
    """Compares texts alone, in a batch and padded in a batch with open_clip's embeddings at the full length.

    Returns the largest distance of two embeddings, relative to the length of open_clip's.
    """
    texts, tower = Texts(source), variable_length(source, tower_of(source.model, source.context_length))
    context = source.context_length
    rows = texts.rows(np.random.default_rng(0), sorted({1, 2, 5, 9, context // 2, context - 1, context}))
    longest = texts.padded(rows[:-1], len(rows[-2]))
    with torch.no_grad():
        expected = source.encode_text(texts.padded(rows, context))
        alone = torch.cat([tower(*laid_out([row])) for row in rows])
        batch = tower(*laid_out(rows))
        padded = tower(*laid_out(list(longest)))
    pairs = ((alone, expected), (batch, expected), (padded, expected[:-1]))
    return max(relative_difference(embeddings, wanted) for embeddings, wanted in pairs)


def relative_difference(embeddings: Tensor, wanted: Tensor) -> float:
    """Returns the largest distance of two rows, relative to the length of the wanted one; NaN counts."""
    return float(((embeddings - wanted).norm(dim=1) / wanted.norm(dim=1)).max())


def variable_length(source: Source, tower: torch.nn.Module | None) -> RaggedText:
    """Returns the module for Triton's ragged batches, around a tower. Raises ValueError if there is none."""
    end = end_of(source.model, source.tokenizer.pad_id)
    if end is None or tower is None:
        raise ValueError("this tower encodes only texts of the full length")
    vocabulary = vocabulary_of(source.model)
    return RaggedText(
        tower, source.context_length, SPLIT_TOKENS, end, vocabulary, source.tokenizer.pad_id
    ).eval()
