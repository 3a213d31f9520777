"""Pictures and texts by which graphs are compared with open_clip: seeded, and different from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clipserve_exporter.ragged_text import end_of
from clipserve_exporter.source import Source
from clipserve_exporter.text_tower import vocabulary_of


def pictures(rng: np.random.Generator, count: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Returns RGB uint8 [count, height, width, 3]: by turns a gradient, noise and patches of color."""
    result = rng.integers(0, 256, (count, height, width, 3), np.uint8)
    down, across = (np.linspace(0, 255, side).astype(np.uint8) for side in (height, width))
    for i in range(0, count, 3):
        colors = np.arange(3) * 40 + 30 * i
        result[i] = (down[:, None, None] + across[None, :, None] // 2 + colors) % 255
    for i in range(2, count, 3):
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
        result[i] = coarse[rows][:, columns]
    return result


class Texts:
    """Makes texts of any id of a model's own vocabulary, with its end token at the end and no padding."""

    def __init__(self, source: Source) -> None:
        self.vocabulary = vocabulary_of(source.model)
        self.context_length = source.context_length
        self.pad = source.tokenizer.pad_id
        self.end = end_of(source.model, self.pad)
        self.shortest = 2 if self.end is not None and self.end.rule == "highest" else 1
        """Tokens of the shortest text: the end token, after a start token where there is one."""

    def rows(self, rng: np.random.Generator, lengths: Sequence[int]) -> list[Tensor]:
        """Returns one int64 [length] for each length. Lengths beyond the model's are cut to it."""
        return [self.row(rng, max(self.shortest, min(length, self.context_length))) for length in lengths]

    def row(self, rng: np.random.Generator, length: int) -> Tensor:
        """Returns one text, int64 [length], with the highest ids among its tokens."""
        ids = rng.integers(1, self.vocabulary, length)
        ids[0] = self.vocabulary - 2
        if length > 1:
            ids[1] = self.vocabulary - 1
        last = None if self.end is None or self.end.rule == "padding" else self.end.token
        other = next(i for i in range(self.vocabulary) if i not in (self.pad, last))
        ids[(ids == self.pad) | (ids == last)] = other
        if last is not None:
            ids[-1] = last
        return torch.from_numpy(ids)

    def padded(self, rows: Sequence[Tensor], length: int) -> Tensor:
        """Returns int64 [B, length], with padding at the ends of the texts."""
        whole = torch.full((len(rows), length), self.pad, dtype=torch.int64)
        for row, tokens in zip(whole, rows, strict=True):
            row[: len(tokens)] = tokens
        return whole


def laid_out(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Returns texts as Triton's ragged batches contain them: int32 [total] and float32 [B, 1]."""
    lengths = torch.tensor([float(len(row)) for row in rows]).reshape(-1, 1)
    return torch.cat(list(rows)).to(torch.int32), lengths
