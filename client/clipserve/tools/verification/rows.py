"""Checks of rows of embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from clipserve.errors import ClipserveError
from clipserve.tools.verification import remedies
from clipserve.tools.verification.compare import Check, alike, difference
from clipserve.tools.verification.requests import Kind, Rows
from clipserve.types import Floats


def check_answered(kind: Kind, rows: Rows) -> Check:
    """Whether every input, sent alone, has an embedding."""
    name = f"{kind} one at a time"
    if rows.errors:
        return refused(name, rows.errors, len(rows.vectors))
    lengths = np.linalg.norm(rows.vectors, axis=1)
    bad = int((~(np.isfinite(lengths) & (lengths > 0))).sum())
    if bad:
        detail = f"{bad} of {len(lengths)} embeddings are zero or not finite"
        return Check(name, "failed", detail, remedies.RECORDED)
    return Check(
        name, "passed", f"{len(lengths)} embeddings, lengths {lengths.min():.3g} to {lengths.max():.3g}"
    )


def check_different(kind: Kind, rows: Rows, bound: float) -> Check:
    """Whether different inputs have different embeddings; otherwise no other check could see a mistake."""
    least, indistinct = alike(rows.vectors, bound)
    detail = f"the least alike have cosine {least:.4f}"
    if indistinct:
        return Check(f"different {kind} differ", "failed", detail, remedies.ALIKE, {"least_cosine": least})
    return Check(f"different {kind} differ", "passed", detail, figures={"least_cosine": least})


def refused(name: str, errors: Mapping[int, ClipserveError], total: int) -> Check:
    first = errors[min(errors)]
    return Check(
        name, "failed", f"{len(errors)} of {total} inputs were refused: {first.message}", remedies.REFUSED
    )


def compared(
    name: str, rows: Floats, expected: Floats, bound: float, remedy: str, names: Sequence[str] = ()
) -> Check:
    """Whether rows equal the expected ones. `names` are those of the inputs, for the message."""
    differing = difference(rows, expected, bound)
    if differing.good:
        return Check(name, "passed", differing.detail, figures=differing.figures)
    which = repr(names[differing.worst][:40]) if names else f"number {differing.worst}"
    detail = f"{differing.detail}; worst: {which}"
    if differing.mistaken_for is not None:
        other = repr(names[differing.mistaken_for][:40]) if names else f"number {differing.mistaken_for}"
        return Check(
            name, "failed", f"{detail}, which got the embedding of {other}", remedies.ROWS, differing.figures
        )
    return Check(name, "failed", detail, remedy, differing.figures)
