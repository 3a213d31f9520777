"""The inputs of the checks: those of the golden file first, then the command's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clipserve.inputs.image_like import ExactPixels
from clipserve.tools.verification import samples
from clipserve.tools.verification.golden import Golden
from clipserve.tools.verification.requests import Kind

INPUTS = 36
"""1 + 2 + … + 8 pictures, and as many texts: one pass has every size of a request from 1 to 8."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of one kind."""

    kind: Kind
    items: Sequence[Any]
    recorded: int
    """Number of the items that come from the golden file."""


def image_inputs(golden: Golden | None) -> Inputs:
    """Pictures whose pixels the server must make exactly as open_clip does."""
    recorded = golden.images if golden else ()
    own = map(samples.png, samples.picture_arrays(max(0, INPUTS - len(recorded))))
    return Inputs("images", [ExactPixels(content) for content in (*recorded, *own)], len(recorded))


def text_inputs(golden: Golden | None, context_length: int) -> Inputs:
    """Texts; the last one is longer than the context."""
    recorded = golden.texts if golden else ()
    own = samples.sample_texts(max(0, INPUTS - 1 - len(recorded)))
    return Inputs("texts", [*recorded, *own, samples.long_text(context_length)], len(recorded))
