"""Text to token ids, equal to OpenAI's CLIP tokenizer.

The same byte-pair encoding (49,408 tokens, from CLIP's merges file) on the same cleaned text, with the
merging done by Hugging Face's `tokenizers`.
"""

from __future__ import annotations

import gzip
import html
from collections.abc import Sequence
from importlib import resources

import ftfy
import numpy as np
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Steps

from clipserve_gateway.types import Tokens

START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY = 49408
PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


class OpenAITokenizer:
    """Encodes texts for models with CLIP's own vocabulary.

    Args:
        context_length: tokens of the longest text, start and end included.
    """

    def __init__(self, context_length: int = 77) -> None:
        vocabulary, merges = load_bpe()
        self._context_length = context_length
        self._start, self._end = vocabulary[START], vocabulary[END]
        self._special = {START: self._start, END: self._end}
        self._tokenizer = Tokenizer(BPE(vocabulary, merges, end_of_word_suffix="</w>"))
        self._tokenizer.pre_tokenizer = Steps(
            [Split(Regex(PIECES), "removed", invert=True), ByteLevel(add_prefix_space=False, use_regex=False)]
        )

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, start and end included: int32 [n ≤ context_length].

        Of a text that is longer, the end is cut off and `truncated` is set.
        """
        cleaned = [self._first_words(clean(text)) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(cleaned, add_special_tokens=False)
        return [
            self._framed(self._with_special(text) if "<|" in text else encoding.ids)
            for text, encoding in zip(cleaned, encodings, strict=True)
        ]

    def _first_words(self, text: str) -> str:
        """No more words than tokens fit: no token spans two words, so the ids that are kept are the same."""
        if len(text) <= self._context_length:
            return text
        return " ".join(text.split(" ", self._context_length)[: self._context_length])

    def _with_special(self, text: str) -> list[int]:
        """Ids of a text in which start or end tokens may be spelled out."""
        ids: list[int] = []
        for piece, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(text):
            if piece in self._special:
                ids.append(self._special[piece])
            else:
                ids.extend(token.id for token in self._tokenizer.model.tokenize(piece))
        return ids

    def _framed(self, ids: list[int]) -> Tokens:
        room = self._context_length - 2
        framed = np.array([self._start, *ids[:room], self._end], np.int32)
        # OpenAI cuts after framing and then overwrites the last id: the same ids.
        return Tokens(framed, truncated=len(ids) > room)


def clean(text: str) -> str:
    """Mended (mojibake, HTML entities), with single spaces, in lower case."""
    # Printable ASCII without entities is what ftfy leaves alone, at a fraction of its cost.
    if not (text.isascii() and text.isprintable() and "&" not in text):
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def load_bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges, in the order in which CLIP's own tokenizer numbers them."""
    source = resources.files("clipserve_gateway") / "data" / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(source.read_bytes()).decode().split("\n")
    symbols = byte_symbols()
    # The first line is a comment; 512 tokens are bytes, 2 are special, the rest come from merges.
    merges = [(left, right) for left, right in (line.split() for line in lines[1 : VOCABULARY - 514 + 1])]
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *(a + b for a, b in merges), START, END]
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
