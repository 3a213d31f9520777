"""The text tower as a module of its own: token ids → float32 embeddings, not normalized.

In a causal tower that reads its embedding at the end token, later tokens have no influence. Such a tower gets
each text at its own length ("ragged"); every other tower gets the full length ("fixed").
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCABULARY = 49408
"""Number of tokens of the OpenAI tokenizer; the last one is the end token."""
END = VOCABULARY - 1


def is_ragged(model: Any, fixed: bool = False) -> bool:
    """Whether to encode each text at its own length.

    That is so if no token after the end token influences the embedding, unless `fixed` is set.
    """
    tower = parts_of(model)
    pool, end = pooling_of(model)
    reads_end = pool == "argmax" or (pool == "eos" and end == END)
    return not fixed and tower.attn_mask is not None and getattr(tower, "cls_emb", None) is None and reads_end


def parts_of(model: Any) -> Any:
    """Returns the module with the text parts: open_clip's CLIP itself, or `.text` of other models."""
    return getattr(model, "text", model)


def pooling_of(model: Any) -> tuple[str, int]:
    """Returns the pool type and the end token that it looks for."""
    tower = parts_of(model)
    if tower is model:
        return model.text_pool_type, model.text_eos_id
    return tower.pool_type, tower.eos_id


class TextTower(nn.Module):
    """The text parts of a model. A causal tower accepts any number of tokens up to its context length.

    open_clip's `encode_text` accepts only the full length. This module slices positions and mask to the
    length of the input.
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

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [B, L ≤ context_length] → float32 [B, D]."""
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


class RaggedText(nn.Module):
    """Encodes concatenated texts of different lengths, as Triton's ragged batches contain them.

    Scripted, around a traced TextTower. Invalid ids are clamped to the vocabulary and long rows are cut to
    the context length, so that one row cannot fail the others.
    """

    def __init__(self, tower: nn.Module, context_length: int, split_tokens: int) -> None:
        super().__init__()
        self.tower = tower
        self.context_length = context_length
        self.end = END
        self.split_tokens = split_tokens
        """A batch is split by length if that saves more tokens than this. On a CPU, each pass through the
        tower has a fixed cost of some tens of tokens. On a GPU its kernel launches cost as much as thousands
        of tokens, so only very large batches are split."""

    def forward(self, flat: Tensor, lengths: Tensor) -> Tensor:
        """int32 [total] and lengths, float32 [B, 1], whose sum is total → float32 [B, D]."""
        tokens = self.rows(flat, lengths)
        used = self.used(tokens)
        order = used.argsort()
        ascending: list[int] = used[order].tolist()
        bounds = self.groups(ascending, self.split_tokens * (64 if flat.is_cuda else 1))
        if len(bounds) == 2:
            return self.tower(tokens[:, : ascending[-1]])
        outputs: list[Tensor] = []
        for i in range(len(bounds) - 1):
            begin, end = bounds[i], bounds[i + 1]
            outputs.append(self.tower(tokens[order[begin:end]][:, : ascending[end - 1]]))
        return torch.cat(outputs)[order.argsort()]

    def rows(self, flat: Tensor, lengths: Tensor) -> Tensor:
        """Stacks the texts, padded with 0: int64 [B, longest length]."""
        n = lengths.reshape(-1).to(device=flat.device, dtype=torch.int64)
        longest = max(1, min(self.context_length, int(n.max())))
        column = torch.arange(longest, device=flat.device).unsqueeze(0)
        index = (n.cumsum(0) - n).unsqueeze(1) + column
        # One more token, so that an index past the last row is valid.
        padded = F.pad(flat.to(torch.int64), [0, 1])
        tokens = padded[index.clamp(0, flat.numel())].clamp(0, self.end)
        return tokens.masked_fill(column >= n.unsqueeze(1), 0)

    def used(self, tokens: Tensor) -> Tensor:
        """Returns the used columns of each row: up to the first end token, or all without one."""
        highest, at = tokens.max(dim=1)
        return torch.where(highest == self.end, at + 1, tokens.shape[1])

    def groups(self, lengths: list[int], worth: int) -> list[int]:
        """Returns the bounds [0, …, B] of up to three groups of rows with similar, ascending `lengths`.

        Each cut is the one that saves most tokens, and more than `worth`.
        """
        bounds = [0, len(lengths)]
        for _ in range(2):
            best, where = worth, -1
            for i in range(len(bounds) - 1):
                begin, end = bounds[i], bounds[i + 1]
                for cut in range(begin + 1, end):
                    spared = (cut - begin) * (lengths[end - 1] - lengths[cut - 1])
                    if spared > best:
                        best, where = spared, cut
            if where < 0:
                break
            bounds.append(where)
            bounds.sort()
        return bounds


class FixedText(nn.Module):
    """A text tower at its full length: bidirectional, or with an embedding not read at the end token."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        # CoCa appends a token to the text.
        appends = getattr(parts_of(model), "cls_emb", None) is not None
        self.tower = parts_of(model) if appends else TextTower(model)

    def forward(self, tokens: Tensor) -> Tensor:
        """int32 [B, context_length] → float32 [B, D]."""
        features = self.tower(tokens.to(torch.int64).clamp(0, END))
        # With output_tokens, the tower also returns the features of the tokens.
        return (features[0] if isinstance(features, tuple) else features).float()
