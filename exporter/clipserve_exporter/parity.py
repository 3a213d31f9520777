"""Compares exported graphs with open_clip's eager model, over batch sizes and text lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clipserve_exporter.errors import ExportError
from clipserve_exporter.reference import encode_images
from clipserve_exporter.samples import Texts, laid_out, pictures
from clipserve_exporter.source import Source
from clipserve_exporter.text_length import text_length_of

BOUNDS = {"fp32": 0.99999, "fp16": 0.9999, "bf16": 0.999}
"""Smallest accepted cosine with open_clip in float32, by precision."""
ALIKE = 0.999
"""If all inputs have at least this cosine to each other, a graph that confuses them would pass too."""
NEARLY_ALIKE = 0.99
"""The same for random weights, which can be perturbed."""
IMAGE_BATCHES = (1, 2, 5)
PADDED = "batch 3, padded"
"""The texts of one call have padding up to the longest, as the gateway sends them."""


@dataclass(frozen=True)
class Case:
    """One comparison of a tower's graph with open_clip."""

    tower: str
    what: str
    max_abs_diff: float
    min_cosine: float
    bound: float
    likeness: float = 1.0
    """Smallest cosine of open_clip's embeddings of two different inputs; 1 for one input."""

    @property
    def good(self) -> bool:
        """Whether the embeddings are close enough; false for NaN."""
        return self.min_cosine >= self.bound


def compare(tower: str, what: str, embeddings: Tensor, expected: Tensor, bound: float) -> Case:
    """Compares two float32 [B, D]. The case is not good if their shapes or types differ.

    Raises ExportError if the expected embeddings are not finite.
    """
    if not expected.isfinite().all():
        raise ExportError(
            f"open_clip's own {tower} embeddings contain infinity or NaN ({what}); the weights are damaged, "
            "or do not belong to this architecture"
        )
    if embeddings.shape != expected.shape or embeddings.dtype != torch.float32:
        return Case(
            tower, f"{what}: {embeddings.dtype} {tuple(embeddings.shape)}", float("nan"), float("nan"), bound
        )
    cosines = torch.nn.functional.cosine_similarity(embeddings.double(), expected.double(), dim=1)
    difference = (embeddings - expected).abs().max()
    return Case(tower, what, float(difference), float(cosines.min()), bound, likeness(expected))


def likeness(embeddings: Tensor) -> float:
    """Returns the smallest cosine of two rows of float32 [B, D]; 1 for one row."""
    unit = torch.nn.functional.normalize(embeddings.double(), dim=1)
    return min(1.0, float((unit @ unit.T).min()))


def likeness_of(cases: Sequence[Case], tower: str) -> float:
    """Returns the smallest cosine of two inputs of a tower."""
    return min(case.likeness for case in cases if case.tower == tower)


def image_cases(
    source: Source,
    graph: Callable[..., Tensor],
    precision: str,
    batches: Sequence[int] = IMAGE_BATCHES,
    note: str = "",
) -> Iterator[Case]:
    """Compares the image tower on gradients, noise and patches of color. Case names end with `note`."""
    height, width, _ = source.preprocess.shape
    rng = np.random.default_rng(0)
    for batch in batches:
        pixels = pictures(rng, batch, height, width)
        with torch.no_grad():
            embeddings, expected = graph(torch.from_numpy(pixels)), encode_images(source, pixels)
        yield compare("image", f"batch {batch}{note}", embeddings, expected, BOUNDS[precision])


def text_cases(
    source: Source, graph: Callable[..., Tensor], precision: str, handling: str = "", note: str = ""
) -> Iterator[Case]:
    """Compares the text tower on texts of one length, of mixed and of very uneven lengths.

    Their ids are drawn from the whole vocabulary. `handling` is the graph's (see export_text). Case names end
    with `note`.
    """
    handling = handling or text_length_of(source).handling
    texts = Texts(source)
    context = source.context_length
    plans = {
        "batch 1, shortest text": [texts.shortest],
        "batch 1, longest text": [context],
        "batch 3, one length": [9] * 3,
        "batch 8, mixed lengths": [2 + 3 * i for i in range(8)],
        PADDED: [3, 20, 7],
        "batch 16, very uneven": [*(4 + i % 5 for i in range(14)), context, context],
    }
    rng = np.random.default_rng(0)
    for what, lengths in plans.items():
        rows = texts.rows(rng, lengths)
        whole = texts.padded(rows, context)
        with torch.no_grad():
            if what == PADDED:
                rows = list(texts.padded(rows, max(map(len, rows))))
            inputs = (whole.to(torch.int32),) if handling == "fixed" else laid_out(rows)
            embeddings = graph(*inputs)
            expected = source.encode_text(whole)
        yield compare("text", what + note, embeddings, expected, BOUNDS[precision])
