"""Golden files for tests of the gateway: with its own pixels, and with ids of test data."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from clipserve_gateway.inputs.preprocess import ImageLimits, load_image
from clipserve_gateway.types import ImageRules, Preprocess, TokenizerSpec
from PIL import Image

from testing.fakes import SPEC

LIMITS = ImageLimits(max_bytes=1 << 20, max_pixels=1 << 20)
TEXTS = ("a photo of a cat", "", "word " * 100)
OPENAI_IDS = (
    [49406, 320, 1125, 539, 320, 2368, 49407],
    [49406, 49407],
    [49406, *[2653] * 75, 49407],
)
"""Ids of TEXTS by OpenAI's tokenizer."""


def pictures() -> dict[str, bytes]:
    """A JPEG and a PNG."""
    files = {}
    for name, size in (("a.jpg", (90, 50)), ("b.png", (17, 64))):
        colors = np.random.default_rng(len(files)).integers(0, 256, (4, 4, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(colors).resize(size, Image.Resampling.BICUBIC).save(
            file, name[-3:].replace("jpg", "jpeg")
        )
        files[name] = file.getvalue()
    return files


def golden_entries(
    preprocess: Preprocess = SPEC.preprocess,
    tokenizer: TokenizerSpec = SPEC.tokenizer,
    texts: Sequence[str] = TEXTS,
    ids: Sequence[Sequence[int]] = OPENAI_IDS,
    truncated: Sequence[bool] = (False, False, True),
    **facts: Any,
) -> dict[str, Any]:
    """The entries of a golden file by which the gateway is right, with changes of its facts."""
    files = pictures()
    pixels = [load_image(one, preprocess, ImageRules(), limits=LIMITS, fast=False) for one in files.values()]
    described = {
        "format": 1,
        "model": SPEC.name,
        "fingerprint": SPEC.fingerprint,
        "embed_dim": SPEC.embed_dim,
        "preprocess": dataclasses.asdict(preprocess) | {"mean": [0.5] * 3, "std": [0.5] * 3},
        "tokenizer": dataclasses.asdict(tokenizer),
        "context_length": tokenizer.context_length,
        "pixel_step": 3,
        "images": list(files),
        "texts": list(texts),
    }
    padded = np.full((len(ids), tokenizer.context_length), tokenizer.pad_id, np.int32)
    for row, one in zip(padded, ids, strict=True):
        row[: len(one)] = one
    return {
        "facts": np.array(json.dumps(described | facts)),
        "image_bytes": np.frombuffer(b"".join(files.values()), np.uint8),
        "image_sizes": np.array([len(content) for content in files.values()], np.int64),
        "pixel_sha256": np.array([hashlib.sha256(one.tobytes()).hexdigest() for one in pixels]),
        "pixel_sample": np.stack([one[::3, ::3] for one in pixels]),
        "ids": padded,
        "truncated": np.array(truncated),
    }


def write_golden(path: Path, entries: dict[str, Any] | None = None) -> Path:
    """Writes a golden file; without `entries`, one by which the gateway is right."""
    np.savez_compressed(path, **(golden_entries() if entries is None else entries))
    return path
