"""The text tower as a graph of its own: token ids in, raw float32 embeddings out.

Tokens after the end token have no influence in a causal tower that reads its embedding there, so such a
tower is given each text at its own length ("ragged"); every other tower keeps its full length ("fixed").
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCABULARY = 49408
"""Of the OpenAI tokenizer; its last id is the end token."""
END = VOCABULARY - 1


def is_ragged(model: Any, fixed: bool = False) -> bool:
    """Whether to encode each text at its own length: where its embedding depends on nothing after the end
    token, unless a `fixed` length is asked for.
    """
    tower = parts_of(model)
    pool, end = pooling_of(model)
    reads_end = pool == "argmax" or (pool == "eos" and end == END)
    return not fixed and tower.attn_mask is not None and getattr(tower, "cls_emb", None) is None and reads_end


def parts_of(model: Any) -> Any:
    """The module that holds the text parts: open_clip's CLIP keeps them itself, the others in `.text`."""
    return getattr(model, "text", model)


def pooling_of(model: Any) -> tuple[str, int]:
    """The pool type and the end token that it looks for."""
    tower = parts_of(model)
    if tower is model:
        return model.text_pool_type, model.text_eos_id
    return tower.pool_type, tower.eos_id


class TextTower(nn.Module):
    """The text parts of a model; a causal one takes any number of tokens up to its context length.

    open_clip's own `encode_text` takes the full length alone; this slices the positions and the mask by
    the length of the input.
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
        # Beside the weights the mask would keep the precision that it was made in.
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
        """The one position that stands for the text: [B, L, W] → [B, W]."""
        if self.pool == "first":
            return x[:, 0]
        if self.pool == "last":
            return x[:, -1]
        # The end token has the highest id. A gather instead of x[arange, …]: no device enters the graph.
        where = tokens if self.pool == "argmax" else (tokens == self.end).to(torch.int64)
        return x.gather(1, where.argmax(dim=1).reshape(-1, 1, 1).expand(-1, 1, x.shape[2])).squeeze(1)


class RaggedText(nn.Module):
    """Texts of different lengths, laid end to end, as Triton's ragged batches bring them.

    Scripted, around a traced TextTower. What does not belong into a batch (an id outside the vocabulary, a
    row longer than the context) is cut to what does, so that it cannot fail the rows beside it.
    """

    def __init__(self, tower: nn.Module, context_length: int, split_tokens: int) -> None:
        super().__init__()
        self.tower = tower
        self.context_length = context_length
        self.end = END
        self.split_tokens = split_tokens
        """A batch is split by length where that spares more tokens than this. On a CPU a pass through the
        tower costs as much as some tens of tokens, whatever it holds; on a GPU it takes thousands to earn
        its kernel launches, so there only huge batches are split."""

    def forward(self, flat: Tensor, lengths: Tensor) -> Tensor:
        """int32 [total], float32 [B, 1] that sum up to total → float32 [B, D]."""
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
        """The texts below each other, filled up with 0: int64 [B, L of the longest]."""
        n = lengths.reshape(-1).to(device=flat.device, dtype=torch.int64)
        longest = max(1, min(self.context_length, int(n.max())))
        column = torch.arange(longest, device=flat.device).unsqueeze(0)
        index = (n.cumsum(0) - n).unsqueeze(1) + column
        # One more, so that an index past the last row's end still points at something.
        padded = F.pad(flat.to(torch.int64), [0, 1])
        tokens = padded[index.clamp(0, flat.numel())].clamp(0, self.end)
        return tokens.masked_fill(column >= n.unsqueeze(1), 0)

    def used(self, tokens: Tensor) -> Tensor:
        """How many columns of each row matter: up to the first end token, or all where there is none."""
        highest, at = tokens.max(dim=1)
        return torch.where(highest == self.end, at + 1, tokens.shape[1])

    def groups(self, lengths: list[int], worth: int) -> list[int]:
        """Bounds of up to three groups of rows whose ascending `lengths` are alike: [0, …, B].

        Each cut is the one that spares most, and at least `worth` tokens.
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
    """A text tower at its full length: bidirectional, or read at another place than the end."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        # CoCa puts a token of its own behind the text.
        appends = getattr(parts_of(model), "cls_emb", None) is not None
        self.tower = parts_of(model) if appends else TextTower(model)

    def forward(self, tokens: Tensor) -> Tensor:
        """int32 [B, context_length] → float32 [B, D]."""
        features = self.tower(tokens.to(torch.int64).clamp(0, END))
        # With output_tokens, the tokens' own features come along.
        return (features[0] if isinstance(features, tuple) else features).float()
