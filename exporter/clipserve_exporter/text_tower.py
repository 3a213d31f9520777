"""The text tower as a module of its own: token ids → float32 embeddings, not normalized.

open_clip's `encode_text` accepts only the full length. These modules accept any length up to it, so that a
text need not be padded to the full length where padding does not influence its embedding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCABULARY = 49408
"""Number of tokens of the OpenAI tokenizer; the last one is the end token."""
END = VOCABULARY - 1


def parts_of(model: Any) -> Any:
    """Returns the module with the text parts: open_clip's CLIP itself, or `.text` of other models."""
    return getattr(model, "text", model)


def is_huggingface(model: Any) -> bool:
    """Whether the text tower is an encoder of Hugging Face transformers."""
    from open_clip.hf_model import HFTextEncoder

    return isinstance(parts_of(model), HFTextEncoder)


def vocabulary_of(model: Any) -> int:
    """Returns the number of rows of the token embedding. Every id must be below it."""
    parts = parts_of(model)
    if is_huggingface(model):
        return int(parts.transformer.get_input_embeddings().weight.shape[0])
    return int(parts.token_embedding.weight.shape[0])


def pooling_of(model: Any) -> tuple[str, int]:
    """Returns open_clip's pool type and the end token that `eos` looks for."""
    tower = parts_of(model)
    if tower is model:
        return model.text_pool_type, model.text_eos_id
    return tower.pool_type, tower.eos_id


def tower_of(model: Any, context_length: int) -> nn.Module | None:
    """Returns a module that encodes texts of any length; None if there is none for this kind of tower."""
    if is_huggingface(model):
        from clipserve_exporter.hf_text import HuggingFaceTower, is_known

        return HuggingFaceTower(parts_of(model), context_length) if is_known(parts_of(model)) else None
    if getattr(parts_of(model), "use_pad_mask", False):
        return None
    return TextTower(model)


class TextTower(nn.Module):
    """The text parts of open_clip's own towers, for any number of tokens up to the context length.

    This module slices positions and mask to the length of the input.
    """

    attn_mask: Tensor | None

    def __init__(self, model: Any) -> None:
        super().__init__()
        tower = parts_of(model)
        self.token_embedding = tower.token_embedding
        self.positional_embedding = tower.positional_embedding
        self.transformer = tower.transformer
        self.ln_final = tower.ln_final
        self.text_projection = tower.text_projection
        self.pool, self.end = pooling_of(model)
        mask = tower.attn_mask
        # The mask must have the precision of the weights, in which it was not created.
        self.register_buffer("attn_mask", None if mask is None else mask.to(tower.positional_embedding.dtype))
        self.cls_emb: nn.Parameter | None = getattr(tower, "cls_emb", None)
        if self.cls_emb is not None:
            self.pad, self.heads = tower.pad_id, tower.heads
            self.cls_masked_last = tower.correct_cls_mask

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [B, L ≤ context_length] → float32 [B, D]."""
        if self.cls_emb is not None:
            x = self.appended(tokens, self.cls_emb)
        else:
            length = tokens.shape[1]
            x = self.token_embedding(tokens) + self.positional_embedding[:length]
            mask = None if self.attn_mask is None else self.attn_mask[:length, :length]
            x = self.pooled(self.ln_final(self.transformer(x, attn_mask=mask)), tokens)
        if self.text_projection is not None:
            linear = isinstance(self.text_projection, nn.Linear)
            x = self.text_projection(x) if linear else x @ self.text_projection
        return x.float()

    def pooled(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Selects the position that represents the text: [B, L, W] → [B, W]."""
        if self.pool == "first":
            return x[:, 0]
        if self.pool == "last":
            return x[:, -1]
        # The end token has the highest id. Unlike x[arange, …], gather puts no device into the graph.
        where = tokens if self.pool == "argmax" else (tokens == self.end).to(torch.int64)
        return x.gather(1, where.argmax(dim=1).reshape(-1, 1, 1).expand(-1, 1, x.shape[2])).squeeze(1)

    def appended(self, tokens: Tensor, cls_emb: Tensor) -> Tensor:
        """Encodes texts as CoCa does, with a token after the last position: int64 [B, L] → [B, W].

        That token attends to the columns that are not masked as padding. open_clip shifts this mask by one
        column, so the token also attends to the first padding of each text: one column is added for it.
        """
        positions = self.positional_embedding
        context = positions.shape[0] - 1
        tokens = F.pad(tokens, [0, 1], value=self.pad)[:, :context]
        length = tokens.shape[1]
        x = self.token_embedding(tokens) + positions[:length]
        last = (cls_emb + positions[context]).expand(x.shape[0], 1, -1)
        x = torch.cat([x, last], 1)
        keep = tokens != self.pad
        always = torch.ones_like(keep[:, :1])
        keep = torch.cat([keep, always] if self.cls_masked_last else [always, keep], 1)
        mask = torch.zeros_like(keep, dtype=x.dtype).masked_fill(~keep, float("-inf")).unsqueeze(1)
        if self.attn_mask is not None:
            mask = mask + self.attn_mask[: length + 1, : length + 1]
        else:
            mask = mask.expand(-1, length + 1, -1)
        return self.ln_final(self.transformer(x, attn_mask=mask.repeat_interleave(self.heads, 0))[:, -1])
