"""The canary of a model: an image and a text whose embeddings its export recorded."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import time
from dataclasses import dataclass

import numpy as np

from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inputs import preprocess
from clipserve_gateway.inputs.tokenizer import tokenizer_for
from clipserve_gateway.triton.encoder import Encoder, Rows, padded
from clipserve_gateway.triton.model_config import tower_name
from clipserve_gateway.types import AS_OPEN_CLIP, Canary, Floats, Ids, ModelSpec, Pixels, Tower

MIN_COSINE = 0.999
"""Between an embedding and the recorded one. fp16 and bf16 reach 0.9999; other weights are far below."""
LENGTH_TOLERANCE = 0.02
"""Relative difference between the length of an embedding and the recorded length."""
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 30.0
TIME_SHARE = 0.01
"""Part of a model's time that the canary may take for each process that runs it, while results are right."""
LIMITS = preprocess.ImageLimits(max_bytes=1 << 20, max_pixels=1 << 22)


class Outcome(enum.Enum):
    """How a canary run ended. The values are those of the metric `clipserve_canary_checks_total`."""

    RIGHT = "right"
    WRONG = "wrong"
    """The model answered, and its answer differs from the recorded one."""
    MISSING = "missing"
    """No answer in time, or no connection."""
    BUSY = "busy"
    """Triton refused the input because the model's queue is full."""
    UNKNOWN = "unknown"
    """The export recorded no canary."""


@dataclass(frozen=True)
class CanaryResult:
    """The result of one canary run."""

    outcome: Outcome
    detail: str = ""
    """A sentence for operators if the outcome is not RIGHT."""
    tower: str = ""
    """Name in Triton of the tower that failed; empty if not known."""
    seconds: float = 0.0
    """Duration of the run."""

    @property
    def ok(self) -> bool:
        """Whether the model can be in service with this result."""
        return self.outcome in (Outcome.RIGHT, Outcome.UNKNOWN)


async def run_canary(encoder: Encoder, spec: ModelSpec, deadline: Deadline) -> CanaryResult:
    """Sends the canary to both towers. Never raises for errors of the model or of Triton."""
    begin = time.monotonic()
    result = await _ask_towers(encoder, spec, deadline)
    return dataclasses.replace(result, seconds=time.monotonic() - begin)


async def _ask_towers(encoder: Encoder, spec: ModelSpec, deadline: Deadline) -> CanaryResult:
    canary = spec.canary
    if canary is None:
        return CanaryResult(Outcome.UNKNOWN, f"model {spec.name} was exported without a canary")
    try:
        pixels, ids = await asyncio.to_thread(inputs_of, spec, canary)
    except errors.InvalidInput as error:
        detail = f"model {spec.name} was exported with a canary that cannot be read: {error.logged}"
        return CanaryResult(Outcome.WRONG, detail)
    asked: tuple[tuple[Tower, Rows, bytes], ...] = (
        ("image", pixels, canary.image_embedding),
        ("text", ids, canary.text_embedding),
    )
    for kind, rows, recorded in asked:
        tower = tower_name(spec.name, kind)
        try:
            answer = await encoder.encode(spec, kind, rows, deadline)
        except errors.Overloaded as error:
            return CanaryResult(Outcome.BUSY, f"{tower}: {error.logged}", tower)
        except (errors.ModelUnavailable, errors.DeadlineExceeded) as error:
            return CanaryResult(Outcome.MISSING, f"{tower}: {error.logged}", tower)
        except errors.InferenceFailed as error:
            return CanaryResult(Outcome.WRONG, f"{tower}: {error.logged}", tower)
        if difference := compare(answer[0], np.frombuffer(recorded, "<f4")):
            return CanaryResult(Outcome.WRONG, f"{tower}: {difference}", tower)
    return CanaryResult(Outcome.RIGHT)


def pause_after(seconds: float, canary_seconds: float | None) -> float:
    """Seconds between a right result, which took `seconds`, and the next canary run.

    `canary_seconds` if it is set. Otherwise 5 s, and up to 30 s for models whose canary takes more than a
    hundredth of that time.
    """
    return canary_seconds or min(max(PAUSE_SECONDS, seconds / TIME_SHARE), LONGEST_PAUSE_SECONDS)


def compare(answer: Floats, recorded: Floats) -> str:
    """The difference between two raw embeddings, float32 [D], with figures; empty if they agree."""
    length, expected = float(np.linalg.norm(answer)), float(np.linalg.norm(recorded))
    if not np.isfinite(length) or length == 0:
        return f"the answer's length is {length}"
    cosine = float(answer @ recorded) / (length * expected)
    if cosine < MIN_COSINE:
        return f"cosine {cosine:.5f} to the recorded answer, must be at least {MIN_COSINE}"
    if abs(length - expected) > LENGTH_TOLERANCE * expected:
        return f"length {length:.4g} instead of {expected:.4g}"
    return ""


@functools.lru_cache(maxsize=64)
def inputs_of(spec: ModelSpec, canary: Canary) -> tuple[Pixels, Ids]:
    """The canary as the towers take it: uint8 [1, height, width, 3] and int32 [1, L]."""
    pixels = preprocess.load_image(canary.image, spec.preprocess, AS_OPEN_CLIP, limits=LIMITS, fast=False)
    if spec.tokenizer.kind == "openai_bpe":
        ids = tokenizer_for(spec.tokenizer).encode([canary.text])[0].ids
    else:
        ids = np.array(canary.text_ids, np.int32)
    return pixels[np.newaxis], padded(spec, [ids])
