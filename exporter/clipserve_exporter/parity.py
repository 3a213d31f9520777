"""Compares exported graphs with open_clip's eager model, over batch sizes and text lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clipserve_exporter.reference import encode_images
from clipserve_exporter.source import Source
from clipserve_exporter.text_tower import END, is_ragged

BOUNDS = {"fp32": 0.99999, "fp16": 0.9999, "bf16": 0.999}
"""Smallest accepted cosine with open_clip in float32, by precision."""
IMAGE_BATCHES = (1, 2, 5)
START = END - 1


@dataclass(frozen=True)
class Case:
    """One comparison of a tower's graph with open_clip."""

    tower: str
    what: str
    max_abs_diff: float
    min_cosine: float
    bound: float

    @property
    def good(self) -> bool:
        """Whether the embeddings are close enough; false for NaN."""
        return self.min_cosine >= self.bound


def compare(tower: str, what: str, embeddings: Tensor, expected: Tensor, bound: float) -> Case:
    """Compares two float32 [B, D]. The case is not good if their shapes or types differ."""
    if embeddings.shape != expected.shape or embeddings.dtype != torch.float32:
        return Case(
            tower, f"{what}: {embeddings.dtype} {tuple(embeddings.shape)}", float("nan"), float("nan"), bound
        )
    cosines = torch.nn.functional.cosine_similarity(embeddings.double(), expected.double(), dim=1)
    difference = (embeddings - expected).abs().max()
    return Case(tower, what, float(difference), float(cosines.min()), bound)


def image_cases(
    source: Source, graph: Callable[..., Tensor], precision: str, batches: Sequence[int] = IMAGE_BATCHES
) -> Iterator[Case]:
    """Compares the image tower on noise and on smooth images."""
    height, width, _ = source.preprocess.shape
    rng = np.random.default_rng(0)
    for batch in batches:
        pixels = rng.integers(0, 256, (batch, height, width, 3), np.uint8)
        down, across = (np.linspace(0, 255, side).astype(np.uint8) for side in (height, width))
        pixels[::2] = (
            down[:, None, None] + across[None, :, None] // 2 + np.arange(3, dtype=np.uint8) * 40
        ) % 255
        with torch.no_grad():
            embeddings, expected = graph(torch.from_numpy(pixels)), encode_images(source, pixels)
        yield compare("image", f"batch {batch}", embeddings, expected, BOUNDS[precision])


def text_cases(
    source: Source, graph: Callable[..., Tensor], precision: str, fixed: bool = False
) -> Iterator[Case]:
    """Compares the text tower on texts of one length, of mixed and of very uneven lengths."""
    context = source.context_length
    plans = {
        "batch 1, shortest text": [2],
        "batch 1, longest text": [context],
        "batch 3, one length": [min(9, context)] * 3,
        "batch 8, mixed lengths": [min(2 + 3 * i, context) for i in range(8)],
        "batch 16, very uneven": [min(4 + i % 5, context) for i in range(14)] + [context] * 2,
    }
    rng = np.random.default_rng(0)
    ragged = is_ragged(source.model, fixed)
    for what, lengths in plans.items():
        rows = [random_tokens(rng, length) for length in lengths]
        whole = torch.zeros(len(rows), context, dtype=torch.int64)
        for row, tokens in zip(whole, rows, strict=True):
            row[: len(tokens)] = tokens
        with torch.no_grad():
            if ragged:
                sizes = torch.tensor(lengths, dtype=torch.float32).reshape(-1, 1)
                embeddings = graph(torch.cat(rows).to(torch.int32), sizes)
            else:
                embeddings = graph(whole.to(torch.int32))
            expected = source.encode_text(whole)
        yield compare("text", what, embeddings, expected, BOUNDS[precision])


def random_tokens(rng: np.random.Generator, length: int) -> Tensor:
    """Returns a start token, `length` - 2 random tokens and an end token, int64 [length]."""
    return torch.tensor([START, *rng.integers(1, START, length - 2).tolist(), END])
