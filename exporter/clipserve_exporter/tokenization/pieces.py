"""Counts how often a tokenizer differs from sentencepiece itself, which made its vocabulary.

open_clip's HFTokenizer is the reference of an export. The report says where that differs from sentencepiece.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipserve_exporter.tokenization.folder import sentencepiece_of
from clipserve_exporter.tokenization.proof import shown

LONGEST = 2000
"""Characters. Longer texts are left out."""


def differences(place: str | Path, slow: Any, tokenizer: Any, cleaned: Sequence[str]) -> str:
    """Describes the texts that sentencepiece splits into other pieces; empty without a sentencepiece model.

    Args:
        place: the tokenizer's folder or name.
        slow: the tokenizer as it was loaded.
        tokenizer: the tokenizer on `tokenizers`.
        cleaned: texts after cleaning.
    """
    path = model_file(place, slow)
    if path is None:
        return ""
    model = sentencepiece_of(path)
    special = set(tokenizer.all_special_tokens)
    texts = [text for text in cleaned if len(text) <= LONGEST and not any(token in text for token in special)]
    ids = tokenizer(texts, add_special_tokens=False, padding=False, truncation=False).input_ids
    pieces = model.encode(texts, out_type=str)
    unknown = tokenizer.unk_token_id
    vocabulary = tokenizer.get_vocab()
    other = [
        text
        for text, row, parts in zip(texts, ids, pieces, strict=True)
        if merged(row, unknown) != merged([vocabulary.get(part, unknown) for part in parts], unknown)
    ]
    compared = f"{len(texts):,} of them (up to {LONGEST:,} characters, without special tokens)"
    if not other:
        return f"; sentencepiece itself was asked for {compared}, and splits all in the same way"
    return (
        f"; sentencepiece itself was asked for {compared}, and splits {len(other):,} in another way, for "
        f"example {shown(other[0])}: such texts keep the ids of open_clip"
    )


def model_file(place: str | Path, slow: Any) -> Path | None:
    """Returns the sentencepiece model of a tokenizer, if there is one."""
    named = getattr(slow, "vocab_file", None)
    paths = [Path(named)] if named else sorted(place.glob("*.model")) if isinstance(place, Path) else []
    return next((path for path in paths if path.suffix == ".model" and path.is_file()), None)


def merged(ids: Sequence[int], unknown: int) -> list[int]:
    """The ids with neighbouring unknown tokens as one."""
    return [id_ for at, id_ in enumerate(ids) if id_ != unknown or at == 0 or ids[at - 1] != unknown]
