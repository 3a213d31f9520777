"""The canary: an image and a text with known embeddings, by which a running model is checked."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from clipserve_exporter.config import Canary
from clipserve_exporter.reference import encode_images, load_pixels, tokenize
from clipserve_exporter.source import Source
from clipserve_exporter.tokenizer_facts import OPENAI

SIDE = 32
TEXT = "a photo of a canary, the small yellow bird"


def canary_png() -> bytes:
    """Returns a small RGB image with an edge, gradients and all three colors; always the same bytes."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    disc = (x - 18) ** 2 + (y - 13) ** 2 < 81
    pixels = np.stack([np.where(disc, 250, x * 4), np.where(disc, 214, 90 + y * 3), 200 - 3 * x], axis=2)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def make_canary(source: Source) -> Canary:
    """Makes the canary with open_clip's float32 embeddings."""
    png = canary_png()
    image = encode_images(source, load_pixels(png, source.preprocess)[None])[0]
    ids = tokenize(source, [TEXT])
    text = source.encode_text(ids)[0]
    own = source.tokenizer.kind != OPENAI.kind
    text_ids = " ".join(map(str, ids[0].tolist())) if own else ""
    return Canary(base64.b64encode(png).decode(), packed(image), TEXT, packed(text), text_ids)


def packed(embedding: Any) -> str:
    """Encodes float32 [D] as base64 of its little-endian bytes."""
    values: npt.NDArray[np.float32] = np.asarray(embedding, "<f4")
    return base64.b64encode(values.tobytes()).decode()
