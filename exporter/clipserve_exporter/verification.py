"""Decides whether exported graphs give open_clip's embeddings, and whether a comparison can show that."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from clipserve_exporter import parity
from clipserve_exporter.errors import ExportError
from clipserve_exporter.jitter import jittered
from clipserve_exporter.parity import ALIKE, NEARLY_ALIKE, Case, likeness_of
from clipserve_exporter.source import Source
from clipserve_exporter.torchscript import export_image, export_text

INPUTS = {"image": "pictures", "text": "texts"}
NOTE = ", perturbed weights"


def compare_again(
    source: Source,
    cases: list[Case],
    precision: str,
    handling: str,
    on_compared: Callable[[Case], None] = lambda case: None,
) -> tuple[list[Case], tuple[str, ...]]:
    """Compares towers once more, with perturbed weights, if their random weights make all inputs alike.

    A graph that confuses inputs would pass a comparison on these. Trained weights of this kind are refused.
    Returns all cases and, for inputs that stay alike, warnings: each a sentence without its full stop.
    Raises ExportError.
    """
    limit = ALIKE if source.pretrained else NEARLY_ALIKE
    alike = {tower: cosine for tower in INPUTS if (cosine := likeness_of(cases, tower)) >= limit}
    if not alike:
        return cases, ()
    if source.pretrained:
        tower, cosine = next(iter(alike.items()))
        raise ExportError(
            f"different {INPUTS[tower]} have nearly the same embedding with these weights (cosine at least "
            f"{cosine:.5f}), so they cannot be told apart; the weights are damaged, or do not belong to "
            f"{source.architecture}"
        )
    other = jittered(source)
    again: list[Case] = []
    if "image" in alike:
        again += parity.image_cases(other, export_image(other, precision), precision, note=NOTE)
    if "text" in alike:
        graph = export_text(other, precision, handling)
        again += parity.text_cases(other, graph, precision, handling, note=NOTE)
    for case in again:
        on_compared(case)
    require_parity(again, precision)
    return [*cases, *again], tuple(
        f"Different {INPUTS[tower]} have nearly the same embedding with these random weights, so the "
        "comparison with open_clip shows little"
        for tower in alike
        if likeness_of(again, tower) >= ALIKE
    )


def require_parity(cases: Iterable[Case], precision: str) -> None:
    """Raises ExportError if the embeddings of a graph differ from open_clip's."""
    worst = next((case for case in cases if not case.good), None)
    if worst is None:
        return
    if worst.min_cosine != worst.min_cosine:
        raise ExportError(
            f"the exported {worst.tower} tower gives infinity or NaN, or another shape, in {precision} "
            f"({worst.what}); {'nothing was written' if precision == 'fp32' else 'use --precision fp32'}"
        )
    raise ExportError(
        f"the exported {worst.tower} tower differs from open_clip ({worst.what}: cosine "
        f"{worst.min_cosine:.6f}; {precision} requires at least {worst.bound}); nothing was written"
    )
