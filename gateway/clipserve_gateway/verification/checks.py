"""Compares what the gateway makes of inputs with what open_clip made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.inputs.preprocess import ImageLimits, load_image
from clipserve_gateway.types import ImageRules, ModelSpec, Pixels, Preprocess, TokenizerSpec, Tokens
from clipserve_gateway.verification.golden import Golden, GoldenPicture, GoldenText

LIMITS = ImageLimits(max_bytes=16 << 20, max_pixels=1 << 24)
NO_RULES = ImageRules()
PIXELS_REMEDY = (
    "use the Pillow of this release, which constraints/ names; if it is, report it with the golden file"
)
IDS_REMEDY = (
    "use the gateway of the release that exported the model; if it is, report it with the golden file"
)
MODEL_REMEDY = "roll out the export that wrote the golden file, or use the golden file of the served export"


@dataclass(frozen=True)
class Check:
    """The result of one comparison."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    detail: str
    remedy: str = ""
    """What to do about a failed check."""


def check_of(name: str, difference: str, passed: str, remedy: str) -> Check:
    """A check that has passed, with the detail `passed`, if there is no difference."""
    return Check(name, "failed", difference, remedy) if difference else Check(name, "passed", passed)


def check_model(spec: ModelSpec, golden: Golden) -> Iterator[Check]:
    """Compares what Triton says about a model with what the golden file says."""
    for name, served, recorded in (
        ("fingerprint", spec.fingerprint, golden.fingerprint),
        ("preprocessing", described(spec.preprocess), described(golden.preprocess)),
        ("tokenizer", described(spec.tokenizer), described(golden.tokenizer)),
    ):
        different = served != recorded
        difference = f"Triton has {served[:100]}, the golden file {recorded[:100]}" if different else ""
        yield check_of(name, difference, recorded[:100], MODEL_REMEDY)


def described(part: Preprocess | TokenizerSpec) -> str:
    """The choices of a model in one line."""
    if isinstance(part, Preprocess):
        return f"{part.width} × {part.height} pixels, {part.resize}, {part.interpolation}, fill {part.fill}"
    if part.kind == "openai_bpe":
        return f"{part.kind}, {part.context_length} tokens"
    return f"{part.kind} {part.sha256[:12]}, {part.context_length} tokens, {part.clean}, pad {part.pad_id}"


def check_pixels(golden: Golden, preprocess: Preprocess) -> Iterator[Check]:
    """One check for each picture: exact decoding without image rules gives open_clip's pixels to the bit."""
    for picture in golden.pictures:
        try:
            pixels = load_image(picture.content, preprocess, NO_RULES, limits=LIMITS, fast=False)
            difference = pixel_difference(pixels, picture, golden.pixel_step)
        except ClipserveError as error:
            difference = error.message
        yield check_of(f"pixels of {picture.name}", difference, "equal", PIXELS_REMEDY)


def pixel_difference(pixels: Pixels, picture: GoldenPicture, step: int) -> str:
    """How pixels differ from the recorded ones; empty if they are equal."""
    if hashlib.sha256(pixels.tobytes()).hexdigest() == picture.sha256:
        return ""
    sample = pixels[::step, ::step]
    if sample.shape != picture.sample.shape:
        return f"the size differs: a sample has shape {sample.shape}, not {picture.sample.shape}"
    apart = np.abs(sample.astype(int) - picture.sample)
    if not apart.any():
        return f"equal in a sample of {apart.shape[0] * apart.shape[1]:,} pixels, but not in all"
    return f"up to {apart.max()} of 255 apart, {apart.mean():.2g} on average"


def check_ids(golden: Golden, tokenizer: TokenizerSpec, tokens: Sequence[Tokens]) -> Iterator[Check]:
    """One check for each text: its ids and its truncation. `tokens` are those of the golden texts."""
    for number, (expected, tokens_here) in enumerate(zip(golden.texts, tokens, strict=True), 1):
        difference = id_difference(expected, tokens_here, tokenizer)
        shown, equal = f"{expected.text[:40]!r}: ", f"{len(tokens_here.ids)} equal ids"
        yield check_of(f"ids of text {number}", difference and shown + difference, shown + equal, IDS_REMEDY)


def id_difference(expected: GoldenText, tokens: Tokens, tokenizer: TokenizerSpec) -> str:
    """How token ids differ from the recorded ones; empty if they are equal."""
    ids = np.full(len(expected.ids), tokenizer.pad_id, np.int64)
    if len(tokens.ids) > len(ids):
        return f"{len(tokens.ids)} ids, more than the context of {len(ids)}"
    ids[: len(tokens.ids)] = tokens.ids
    wrong = np.flatnonzero(ids != expected.ids)
    if len(wrong):
        at = wrong[0]
        return f"{len(wrong)} ids differ, first at position {at}: {ids[at]} instead of {expected.ids[at]}"
    if tokens.truncated != expected.truncated:
        return "it is reported as truncated" if tokens.truncated else "it is not reported as truncated"
    return ""
