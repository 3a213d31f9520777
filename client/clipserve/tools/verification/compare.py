"""Compares rows of embeddings, and says what differs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from clipserve.types import Floats

SAME = {"fp32": 0.99999, "fp16": 0.9999, "bf16": 0.999}
"""Least cosine of two embeddings of the same input by one server, by precision. Measured on a CPU, in batches
of many sizes: fp32 1.0, fp16 0.999999, bf16 0.99996."""
RECORDED = {"fp32": 0.9999, "fp16": 0.9999, "bf16": 0.999}
"""Least cosine of a server's embedding and that of open_clip in fp32, by the server's precision; an export
demands as much. Measured on CPU and GPU: fp32 1.0, fp16 0.99997 to 0.999999, bf16 0.9999 to 0.99997."""
LEAST = 0.999
"""For precisions that this release does not know."""
LENGTH_TOLERANCE = 0.02
"""Relative difference of lengths before L2."""

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """The result of one check of a model."""

    name: str
    status: Status
    detail: str
    """What was measured, or why the check failed or was skipped."""
    remedy: str = ""
    """What to do about a failed check."""
    figures: dict[str, float] = field(default_factory=dict)
    """Measured numbers, for programs."""


@dataclass(frozen=True)
class Difference:
    """How far rows are from the rows that they should equal."""

    min_cosine: float
    length_ratio: float
    """Of the row whose length differs most; 1 if lengths are equal."""
    worst: int
    """Row that differs most."""
    mistaken_for: int | None
    """Row whose expected embedding the worst row has instead of its own."""
    bound: float

    @property
    def good(self) -> bool:
        """False for NaN."""
        return self.min_cosine >= self.bound and abs(self.length_ratio - 1) <= LENGTH_TOLERANCE

    @property
    def detail(self) -> str:
        return f"least cosine {self.min_cosine:.7f}, at least {self.bound} required; {self._lengths}"

    @property
    def _lengths(self) -> str:
        if not math.isfinite(self.length_ratio):
            return "lengths are not finite"
        return f"lengths differ by at most {100 * abs(self.length_ratio - 1):.2g} %"

    @property
    def figures(self) -> dict[str, float]:
        return {"min_cosine": self.min_cosine, "bound": self.bound, "length_ratio": self.length_ratio}


def difference(rows: Floats, expected: Floats, bound: float) -> Difference:
    """Compares float32 [N, D] row by row. Rows that are NaN, zero or infinite differ from everything."""
    lengths, expected_lengths = (np.linalg.norm(part.astype(np.float64), axis=1) for part in (rows, expected))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = lengths / expected_lengths
        cosines = unit(rows) @ unit(expected).T
    own = np.nan_to_num(np.diagonal(cosines), nan=-np.inf, posinf=-np.inf)
    worst = int(own.argmin())
    others = np.nan_to_num(cosines[worst], nan=-np.inf)
    nearest = int(others.argmax())
    mistaken = own[worst] < bound <= others[nearest]
    strange = np.nan_to_num(np.abs(ratios - 1), nan=np.inf).argmax()
    return Difference(
        min_cosine=float(own[worst]) if np.isfinite(own[worst]) else math.nan,
        length_ratio=float(ratios[strange]),
        worst=worst if own[worst] < bound else int(strange),
        mistaken_for=nearest if mistaken else None,
        bound=bound,
    )


def unit(rows: Floats) -> npt.NDArray[np.float64]:
    """Rows of length 1, float64 [N, D]; NaN for rows without a length."""
    wide = rows.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def alike(rows: Floats, bound: float) -> tuple[float, bool]:
    """The least cosine of any two rows, and whether all rows are too alike to tell them apart."""
    cosines = unit(rows) @ unit(rows).T
    least = float(np.nanmin(cosines)) if np.isfinite(cosines).any() else math.nan
    return least, not least < bound
