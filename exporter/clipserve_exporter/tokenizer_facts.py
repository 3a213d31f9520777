"""How a model's texts become token ids, as the configuration tells the gateway. Does not need torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenizerFacts:
    """A model's tokenizer.

    Attributes:
        kind: `openai_bpe`, which is part of the gateway, or `huggingface`, which is a `tokenizer.json` that
            travels with the model.
        sha256: hash of the `tokenizer.json`, 64 hex digits; empty for `openai_bpe`.
        clean: what is done to a text before: open_clip's `lower`, `whitespace` or `canonicalize`, or `none`.
        pad_id: the token after the end of a text.
        strip_id: a token that is replaced by 0 (open_clip's `strip_sep_token`); None if there is none.
        special_tokens: which spelled-out special tokens `openai_bpe` reads: `openai`'s, as for exports of
            schema 1, or `open_clip`'s.
        vocab_size: number of tokens of the text tower; every id is below it.
    """

    kind: str = "openai_bpe"
    sha256: str = ""
    clean: str = "lower"
    pad_id: int = 0
    strip_id: int | None = None
    special_tokens: str = "open_clip"
    vocab_size: int = 49408

    def parameters(self) -> dict[str, str]:
        """Parameters of config.pbtxt."""
        if self.kind == "openai_bpe":
            return {"tokenizer": self.kind, "special_tokens": self.special_tokens}
        values = {
            "tokenizer": self.kind,
            "tokenizer_sha256": self.sha256,
            "text_clean": self.clean,
            "pad_id": str(self.pad_id),
            "vocab_size": str(self.vocab_size),
        }
        return values if self.strip_id is None else values | {"strip_id": str(self.strip_id)}


OPENAI = TokenizerFacts()
