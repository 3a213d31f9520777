"""Golden files of the fake server's model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from client.fake_model import CONTEXT_WORDS, DIM, MODEL, embed_pixels, embed_text
from client.pictures import png
from PIL import Image

PICTURES = tuple(png(seed, 20 + seed, 40) for seed in range(5))
TEXTS = ("a cat", "一只猫 on a roof", "", "many words " * CONTEXT_WORDS)


def golden_entries(**facts: Any) -> dict[str, Any]:
    """The entries of a golden file by which the fake server is right, with changes of its facts."""
    described = {
        "format": 1,
        "model": MODEL.name,
        "fingerprint": MODEL.fingerprint,
        "embed_dim": DIM,
        "context_length": CONTEXT_WORDS + 2,
        "images": [f"{i}.png" for i in range(len(PICTURES))],
        "texts": TEXTS,
    }
    return {
        "facts": np.array(json.dumps(described | facts)),
        "image_bytes": np.frombuffer(b"".join(PICTURES), np.uint8),
        "image_sizes": np.array([len(picture) for picture in PICTURES], np.int64),
        "image_vectors": np.stack([embed_pixels(Image.open(io.BytesIO(one))) for one in PICTURES]),
        "text_vectors": np.stack([embed_text(text) for text in TEXTS]),
        "truncated": np.array([len(text.split()) > CONTEXT_WORDS for text in TEXTS]),
    }


def write_golden(path: Path, entries: dict[str, Any] | None = None, **facts: Any) -> Path:
    """Writes a golden file; without `entries`, one by which the fake server is right."""
    np.savez_compressed(path, **(golden_entries(**facts) if entries is None else entries))
    return path
