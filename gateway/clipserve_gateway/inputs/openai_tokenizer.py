"""Turns texts into token ids, the same as CLIP's own tokenizer.

Uses the same byte-pair encoding (49,408 tokens, from CLIP's merges file) on the same cleaned text; Hugging
Face's `tokenizers` does the merging. A text may contain start and end tokens. OpenAI and open_clip spell them
differently, and agree on everything else.
"""

from __future__ import annotations

import functools
import gzip
from collections.abc import Sequence
from importlib import resources
from typing import Literal, TypeAlias

import numpy as np
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Steps

from clipserve_gateway.inputs.clean_text import clean
from clipserve_gateway.types import Tokens

SpecialTokens: TypeAlias = Literal["openai", "open_clip"]
SPECIAL: dict[SpecialTokens, tuple[str, str]] = {
    "openai": ("<|startoftext|>", "<|endoftext|>"),
    "open_clip": ("<start_of_text>", "<end_of_text>"),
}
"""How the start and the end token are spelled."""
VOCABULARY = 49408
LONGEST_TOKEN = 32
"""Bytes of the longest token."""
FEW = 8
"""Up to this many texts are encoded one by one: a batch uses other threads, which takes longer."""

# The original's pattern ignores case. After lower(), this matters only for the long s and the iota subscript,
# which the original's pattern matches nowhere.
SPECIAL_PIECES: dict[SpecialTokens, str] = {
    "openai": r"<\|[sſ]tartoftext\|>|<\|endoftext\|>",
    "open_clip": r"<[sſ]tart_of_text>|<end_of_text>",
}
PIECES = r"|'[sſ]|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}\x{345}]+"


class OpenAITokenizer:
    """Encodes texts with CLIP's vocabulary, which is loaded at the first use (0.1 s).

    Args:
        context_length: most tokens of a text, start and end included.
        special_tokens: whose spelling of the start and end tokens a text may contain.
    """

    executor = None

    def __init__(self, context_length: int = 77, special_tokens: SpecialTokens = "openai") -> None:
        if context_length < 2:
            raise ValueError(f"a context of {context_length} tokens has no space for start and end")
        self._context_length = context_length
        self._special_tokens = special_tokens
        # Twice the text that certainly fills the context, so that merges near the cut change no kept token.
        self._enough = 2 * LONGEST_TOKEN * context_length

    @property
    def safe_bytes(self) -> int:
        """See Tokenizer. A token has at least one byte."""
        return self._context_length - 2

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, start and end included: int32 [n ≤ context_length].

        A longer text is cut, and its `truncated` is true. Takes about 15 µs for a prompt, and less than 0.5 s
        for any text of a million characters.
        """
        cleaned = [clean(text, self._enough) for text in texts]
        short = [self._beginning(text) for text, _ in cleaned]
        tokenizer = load_tokenizer(self._special_tokens)
        start, end = SPECIAL[self._special_tokens]
        if len(short) <= FEW:
            encodings = [tokenizer.encode(text, add_special_tokens=False) for text in short]
        else:
            encodings = tokenizer.encode_batch_fast(short, add_special_tokens=False)
        return [
            self._framed(
                with_special(text, self._special_tokens) if start in text or end in text else encoding.ids,
                whole=whole,
            )
            for text, encoding, (_, whole) in zip(short, encodings, cleaned, strict=True)
        ]

    def _beginning(self, text: str) -> str:
        """The part of a cleaned text that fills the context: the same ids, as no token spans two words."""
        if len(text) <= self._context_length:
            return text
        return " ".join(text[: self._enough].split(" ", self._context_length)[: self._context_length])

    def _framed(self, ids: list[int], *, whole: bool) -> Tokens:
        room = self._context_length - 2
        start, end = VOCABULARY - 2, VOCABULARY - 1
        # OpenAI cuts after framing and then overwrites the last id: the same ids.
        framed = np.array([start, *ids[:room], end], np.int32)
        return Tokens(framed, truncated=not whole or len(ids) > room)


def with_special(text: str, special_tokens: SpecialTokens) -> list[int]:
    """Ids of a cleaned text that contains start or end tokens."""
    tokenizer = load_tokenizer(special_tokens)
    special = dict(zip(SPECIAL[special_tokens], (VOCABULARY - 2, VOCABULARY - 1), strict=True))
    ids: list[int] = []
    for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text):
        if piece in special:
            ids.append(special[piece])
        else:
            ids.extend(token.id for token in tokenizer.model.tokenize(piece))
    return ids


@functools.cache
def load_tokenizer(special_tokens: SpecialTokens = "openai") -> Tokenizer:
    """The byte-pair encoder of cleaned text, without start and end."""
    vocabulary, merges = load_bpe(special_tokens)
    tokenizer = Tokenizer(BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = Steps(
        [
            Split(Regex(SPECIAL_PIECES[special_tokens] + PIECES), "removed", invert=True),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def load_bpe(special_tokens: SpecialTokens = "openai") -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges, in the order of CLIP's token ids."""
    source = resources.files("clipserve_gateway") / "data" / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(source.read_bytes()).decode().split("\n")
    symbols = byte_symbols()
    # The first line is a comment; 512 tokens are bytes, 2 are special, the rest come from merges.
    merges = [(left, right) for left, right in (line.split() for line in lines[1 : VOCABULARY - 514 + 1])]
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *(a + b for a, b in merges)]
    tokens += SPECIAL[special_tokens]
    return {token: i for i, token in enumerate(tokens)}, merges


def byte_symbols() -> list[str]:
    """A printable character for each byte, as in GPT-2."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(rest))]
