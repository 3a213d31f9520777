"""Whether a model still gives the answers that its export recorded."""

from __future__ import annotations

import asyncio
import enum
import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inputs import preprocess
from clipserve_gateway.inputs.tokenizer import tokenizer_for
from clipserve_gateway.triton.encoder import Encoder, padded
from clipserve_gateway.triton.model_config import IMAGE_SUFFIX, TEXT_SUFFIX
from clipserve_gateway.types import Floats, Ids, KnownAnswer, ModelSpec, Pixels

MIN_COSINE = 0.999
"""Of an answer and what was recorded. fp16 and bf16 reach 0.9999; other weights are far below."""
LENGTH_TOLERANCE = 0.02
"""Of an answer's length, relative to what was recorded."""
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 30.0
SHARE = 0.01
"""Of a model's time, what known answers may take for each that asks, while they are right."""
LIMITS = preprocess.ImageLimits(max_bytes=1 << 20, max_pixels=1 << 22)


class Verdict(enum.Enum):
    """How an examination ended."""

    RIGHT = "right"
    WRONG = "wrong"
    """There was an answer, and it was another one."""
    MISSING = "missing"
    """No answer in time, or no connection."""
    BUSY = "busy"
    """Refused since the queue is full: says nothing of the answers."""
    UNKNOWN = "unknown"
    """The export recorded nothing to compare with."""


FINE = (Verdict.RIGHT, Verdict.UNKNOWN)
"""Verdicts with which a model is in service."""


@dataclass(frozen=True)
class Finding:
    """What an examination found, and a sentence for people where it is not RIGHT."""

    verdict: Verdict
    detail: str = ""
    tower: str = ""
    """The Triton model that did not answer right; empty if that is not known."""
    seconds: float = 0.0
    """What both right answers took."""


async def examine(encoder: Encoder, spec: ModelSpec, deadline: Deadline) -> Finding:
    """Asks both towers the recorded question. Never raises for what the model or the server does."""
    known = spec.known_answer
    if known is None:
        return Finding(Verdict.UNKNOWN, f"model {spec.name} was exported without a known answer")
    try:
        pixels, ids = await asyncio.to_thread(inputs_of, spec, known)
    except errors.InvalidInput as error:
        return Finding(Verdict.WRONG, f"model {spec.name} was exported with a bad question: {error.logged}")
    image, text = spec.name + IMAGE_SUFFIX, spec.name + TEXT_SUFFIX
    towers: tuple[tuple[str, Callable[[], Awaitable[Floats]], bytes], ...] = (
        (image, lambda: encoder.encode_image(spec, pixels, deadline), known.image_embedding),
        (text, lambda: encoder.encode_text(spec, ids, deadline), known.text_embedding),
    )
    begin = time.monotonic()
    for tower, encode, recorded in towers:
        try:
            answer = await encode()
        except errors.Overloaded as error:
            return Finding(Verdict.BUSY, f"{tower}: {error.logged}", tower)
        except (errors.ModelUnavailable, errors.DeadlineExceeded) as error:
            return Finding(Verdict.MISSING, f"{tower}: {error.logged}", tower)
        except errors.InferenceFailed as error:
            return Finding(Verdict.WRONG, f"{tower}: {error.logged}", tower)
        if complaint := compare(answer[0], np.frombuffer(recorded, "<f4")):
            return Finding(Verdict.WRONG, f"{tower}: {complaint}", tower)
    return Finding(Verdict.RIGHT, seconds=time.monotonic() - begin)


def pause_after(took: float, wanted: float | None) -> float:
    """Seconds until a model that was right, in `took` seconds, is asked again.

    What is wanted; if nothing is, 5, and up to 30 where answers take long: a hundredth of the model's time is
    enough for each that asks, as far as half a minute goes.
    """
    return wanted or min(max(PAUSE_SECONDS, took / SHARE), LONGEST_PAUSE_SECONDS)


def compare(answer: Floats, recorded: Floats) -> str:
    """What differs, with the numbers; empty if the answer is right. Both raw, float32 [D]."""
    length, expected = float(np.linalg.norm(answer)), float(np.linalg.norm(recorded))
    if not np.isfinite(length) or length == 0:
        return f"the answer's length is {length}"
    cosine = float(answer @ recorded) / (length * expected)
    if cosine < MIN_COSINE:
        return f"cosine {cosine:.5f} to the recorded answer, at least {MIN_COSINE} is wanted"
    if abs(length - expected) > LENGTH_TOLERANCE * expected:
        return f"length {length:.4g} instead of {expected:.4g}"
    return ""


@functools.lru_cache(maxsize=64)
def inputs_of(spec: ModelSpec, known: KnownAnswer) -> tuple[Pixels, Ids]:
    """The recorded question as the towers take it: uint8 [1, S, S, 3] and int32 [1, L]."""
    pixels = preprocess.load_image(known.image, spec.image_size, limits=LIMITS, fast=False)
    ids = tokenizer_for(spec.context_length).encode([known.text])[0].ids
    return pixels[np.newaxis], padded(spec, [ids])
