"""The proof that an exported tokenizer gives the token ids of open_clip's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from clipserve_exporter.errors import ExportError

Ids = npt.NDArray[np.int64]

SHOWN_TEXT, SHOWN_IDS = 60, 12
"""Most characters and ids in a message."""
CHECKS_A_KIND = 16
"""Texts of each kind for the gateway's checks."""
LONGEST_CHECK = 4000
"""Characters."""


@dataclass(frozen=True)
class Reading:
    """How the gateway uses a tokenizer.json.

    Attributes:
        strip_id: the token that is replaced by 0; None if there is none.
    """

    context_length: int
    pad_id: int
    strip_id: int | None


def plain_ids(tokenizer: Tokenizer, reading: Reading, cleaned: Sequence[str]) -> list[list[int]]:
    """Ids of each cleaned text by the library `tokenizers` alone, without padding."""
    tokenizer.enable_truncation(reading.context_length)
    encodings = tokenizer.encode_batch(list(cleaned))
    return [[0 if id_ == reading.strip_id else id_ for id_ in encoding.ids] for encoding in encodings]


def padded(rows: Sequence[Sequence[int]], reading: Reading) -> Ids:
    """Rows of ids, filled up to the context length: int64 [texts, context_length]."""
    filled = np.full((len(rows), reading.context_length), reading.pad_id, np.int64)
    for whole, row in zip(filled, rows, strict=True):
        whole[: len(row)] = row
    return filled


def require_equal(
    name: str, texts: Sequence[str], expected: Ids, rows: Sequence[Sequence[int]], reading: Reading
) -> None:
    """Raises ExportError with the first text whose ids differ from open_clip's, `expected`."""
    differs = (padded(rows, reading) != expected).any(axis=1)
    if not differs.any():
        return
    first = int(differs.argmax())
    raise ExportError(
        f"the tokenizer {name} cannot be exported: without open_clip it gives other token ids for "
        f"{int(differs.sum())} of {len(texts):,} texts, for example for {shown(texts[first])}: "
        f"{list(rows[first])[:SHOWN_IDS]}, where open_clip has {expected[first].tolist()[:SHOWN_IDS]}"
    )


def checks(texts_by_kind: dict[str, list[str]], ids: dict[str, list[int]]) -> list[dict[str, Any]]:
    """Chooses texts of every kind, evenly spaced, with their ids without padding."""
    chosen: dict[str, None] = {}
    for texts in texts_by_kind.values():
        short = [text for text in texts if len(text) <= LONGEST_CHECK]
        step = max(1, len(short) // CHECKS_A_KIND)
        chosen |= dict.fromkeys(short[::step][:CHECKS_A_KIND])
    return [{"text": text, "ids": ids[text]} for text in chosen]


def shown(text: str) -> str:
    """A text for a message, shortened."""
    return repr(text if len(text) <= SHOWN_TEXT else text[: SHOWN_TEXT - 1] + "…")
