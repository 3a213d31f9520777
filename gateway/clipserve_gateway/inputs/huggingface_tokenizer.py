"""Turns texts into token ids by a `tokenizer.json`, the same as open_clip's HFTokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tokenizers import Encoding, Tokenizer

from clipserve_gateway.inputs.clean_text import clean
from clipserve_gateway.types import TokenizerSpec, Tokens

CHARACTERS_A_TOKEN = 8
"""The part of a long text that is encoded first has this many characters for each token that it needs."""
GROWTH = 4
"""How much longer the part is after each part that is too short."""
MARGIN = 128
"""Tokens beyond the context: a model of word pieces reads a word of up to 100 characters as a whole."""
LONGEST_TOKEN = 256
"""Characters. Texts are encoded whole if the vocabulary has longer tokens."""
LARGEST_EXPANSION = 8
"""A repaired text has at most this many times the characters of the text."""


class BadTokenizer(ValueError):
    """A tokenizer that this gateway cannot use; the message says why."""


class HuggingFaceTokenizer:
    """Encodes texts. Has no state that encoding changes.

    Args:
        definition: the text of a `tokenizer.json`. Its truncation and padding are ignored.

    Raises BadTokenizer.
    """

    def __init__(self, definition: str, spec: TokenizerSpec) -> None:
        self._spec = spec
        self._tokenizer = parsed(definition)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        if max(vocabulary.values(), default=0) >= spec.vocab_size:
            raise BadTokenizer(
                f"its highest token id is {max(vocabulary.values())}, and the model has "
                f"{spec.vocab_size} tokens"
            )
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        if special > spec.context_length:
            raise BadTokenizer(
                f"it adds {special} special tokens, and the model reads {spec.context_length} tokens"
            )
        self._room = spec.context_length - special
        self._longest_token = max(map(len, vocabulary), default=0)

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """See Tokenizer. Takes at most about two seconds for a text of a megabyte."""
        enough = CHARACTERS_A_TOKEN * (self._room + MARGIN)
        cleaned = [clean(text, enough, self._spec.clean) for text in texts]
        short = [text for text, whole in cleaned if whole and len(text) <= enough]
        encodings = iter(self._encodings(short))
        return [
            self._framed(next(encodings))
            if whole and len(beginning) <= enough
            else self._encode_long(text, enough)
            for text, (beginning, whole) in zip(texts, cleaned, strict=True)
        ]

    def _encode_long(self, text: str, enough: int) -> Tokens:
        """Encodes a beginning that certainly has the same first tokens, or else the whole text."""
        while True:
            beginning, whole = clean(text, enough, self._spec.clean)
            if enough > LARGEST_EXPANSION * len(text) or (whole and len(beginning) <= enough):
                [encoding] = self._encodings([beginning])
                return self._framed(encoding, whole=whole)
            if self._fills_context(beginning[:enough]):
                [encoding] = self._encodings([beginning[:enough]])
                return self._framed(encoding, whole=False)
            enough *= GROWTH

    def _fills_context(self, beginning: str) -> bool:
        """Whether the first tokens of a beginning, which fill the context, are those of every longer text.

        A token of the longer text ends at one of the last `longest token` positions of the beginning. Up to
        there, byte-pair encoding and unigram models give the beginning the same tokens as the longer text. So
        the first tokens are certain if the beginnings up to each of these positions agree on them.
        """
        needed = self._room + max(MARGIN, self._longest_token)
        if self._longest_token > LONGEST_TOKEN or len(self._encodings([beginning])[0].ids) <= needed:
            return False
        ends = range(len(beginning) - self._longest_token, len(beginning))
        ids = [encoding.ids for encoding in self._encodings([beginning[:end] for end in ends])]
        return all(len(row) > self._room and row[: self._room] == ids[0][: self._room] for row in ids)

    def _encodings(self, texts: list[str]) -> list[Encoding]:
        """Encodings without special tokens and truncation."""
        return self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)

    def _framed(self, encoding: Encoding, *, whole: bool = True) -> Tokens:
        """The ids with special tokens; `whole` is false if the encoding is that of a part of the text."""
        truncated = len(encoding.ids) > self._room
        if truncated:
            encoding.truncate(self._room)
        ids = np.array(self._tokenizer.post_process(encoding).ids, np.int32)
        if self._spec.strip_id is not None:
            ids[ids == self._spec.strip_id] = 0
        return Tokens(ids, truncated=truncated or not whole)


def parsed(definition: str) -> Tokenizer:
    """The tokenizer. Raises BadTokenizer."""
    try:
        return Tokenizer.from_str(definition)
    except (KeyboardInterrupt, SystemExit):
        raise
    # A panic of the library is a BaseException.
    except BaseException as error:
        raise BadTokenizer(f"tokenizer.json cannot be read: {str(error)[:300]}") from error
