"""Arguments for preprocessing, for tests, faults and measurements."""

from __future__ import annotations

from clipserve_gateway.types import AS_OPEN_CLIP, ImageRules, Preprocess


def square(side: int) -> tuple[Preprocess, ImageRules]:
    """A square input of `side` pixels, as open_clip prepares it: without rules for orientation and alpha."""
    return Preprocess(side, side), AS_OPEN_CLIP
