"""Text towers as Triton serves them: for texts of different lengths, or for rows of the full length."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipserve_exporter.text_tower import is_huggingface, parts_of, pooling_of, tower_of, vocabulary_of


class TextEnd(NamedTuple):
    """Where a text ends: what follows does not influence its embedding.

    Attributes:
        rule: `highest`: at the first token with the highest id; `token`: at the first end token; `padding`:
            before the padding at its end.
        token: the highest id, the end token or the padding.
    """

    rule: str
    token: int


def end_of(model: Any, pad_id: int) -> TextEnd | None:
    """Returns where texts end for this kind of tower; None if padding influences the embeddings."""
    tower = parts_of(model)
    if is_huggingface(model) or getattr(tower, "cls_emb", None) is not None:
        return TextEnd("padding", pad_id)
    if tower.attn_mask is None:
        return None
    pool, token = pooling_of(model)
    if pool == "argmax":
        return TextEnd("highest", vocabulary_of(model) - 1)
    return TextEnd("token", token) if pool == "eos" else None


class RaggedText(nn.Module):
    """Encodes concatenated texts of different lengths, as Triton's ragged batches contain them.

    Scripted, around a traced tower. Invalid ids are clamped to the vocabulary and long rows are cut to the
    context length, so that one row cannot fail the others.
    """

    def __init__(
        self,
        tower: nn.Module,
        context_length: int,
        split_tokens: int,
        end: TextEnd,
        vocabulary: int,
        pad_id: int = 0,
    ) -> None:
        super().__init__()
        self.tower = tower
        self.context_length = context_length
        self.end_rule, self.end = end
        self.highest = vocabulary - 1
        self.pad_id = pad_id
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
        """Stacks the texts with padding at their ends: int64 [B, longest length]."""
        n = lengths.reshape(-1).to(device=flat.device, dtype=torch.int64)
        longest = max(1, min(self.context_length, int(n.max())))
        column = torch.arange(longest, device=flat.device).unsqueeze(0)
        index = (n.cumsum(0) - n).unsqueeze(1) + column
        # One more token, so that an index past the last row is valid.
        padded = F.pad(flat.to(torch.int64), [0, 1])
        tokens = padded[index.clamp(0, flat.numel())].clamp(0, self.highest)
        return tokens.masked_fill(column >= n.unsqueeze(1), self.pad_id)

    def used(self, tokens: Tensor) -> Tensor:
        """Returns the used columns of each row; all for a row without an end, or of padding alone."""
        if self.end_rule == "padding":
            marks = tokens != self.end
            last = tokens.shape[1] - marks.flip(1).to(torch.int64).argmax(dim=1)
            return torch.where(marks.any(dim=1), last, tokens.shape[1])
        marks = tokens == self.end
        first = marks.to(torch.int64).argmax(dim=1) + 1
        return torch.where(marks.any(dim=1), first, tokens.shape[1])

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
    """A text tower at its full length, since padding influences its embeddings."""

    def __init__(self, model: Any, context_length: int) -> None:
        super().__init__()
        self.tower = tower_of(model, context_length) or parts_of(model)
        self.highest = vocabulary_of(model) - 1

    def forward(self, tokens: Tensor) -> Tensor:
        """int32 [B, context_length] → float32 [B, D]."""
        features = self.tower(tokens.to(torch.int64).clamp(0, self.highest))
        # With output_tokens, the tower also returns the features of the tokens.
        return (features[0] if isinstance(features, tuple) else features).float()
