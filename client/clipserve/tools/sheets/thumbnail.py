"""Thumbnails for contact sheets, from untrusted files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from clipserve.inputs.files import Below, read_regular
from clipserve.wire.pillow_images import full_range

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 200_000_000
"""Pictures with more pixels get no thumbnail."""
MAX_BYTES = 256 * 1024 * 1024
"""Larger files get no thumbnail."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats that are tried, whatever the file's name. Decoders of some other formats start programs."""
PALETTES = ("1", "P", "PA")
MODEL_VIEW = (
    "Pictures are shown as the model gets them: EXIF orientation is not applied, alpha is dropped. "
    "The model sees the square in the middle."
)
"""The note on sheets about what `as_seen` does."""


@dataclass(frozen=True)
class NotShown:
    """A picture that cannot be shown, and a short reason."""

    why: str


Picture: TypeAlias = Path | Below | bytes | NotShown | None
"""A file that the user named, a file below a trusted folder, bytes, or why there is no picture."""


def thumbnail(source: Picture, width: int, height: int) -> Image.Image | NotShown:
    """The picture as the model gets it, in RGB, scaled to fit into `width` × `height` pixels."""
    from PIL import Image

    if source is None:
        return NotShown("its point has no path")
    if isinstance(source, NotShown):
        return source
    try:
        content = source if isinstance(source, bytes) else read_regular(source, MAX_BYTES)
    except (OSError, ValueError) as error:
        return NotShown(getattr(error, "strerror", None) or str(error))
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return NotShown(f"it has more than {MAX_PIXELS // 1_000_000} million pixels")
            image.draft("RGB", (2 * width, 2 * height))
            return as_seen(image, width, height)
    except Exception:  # decoders raise any error for broken files
        return NotShown("it is not a picture, or is broken")


def as_seen(image: Image.Image, width: int, height: int) -> Image.Image:
    """The picture in RGB, scaled to fit, by the server's policy; see MODEL_VIEW."""
    from PIL import Image

    image.load()
    scale = min(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    if image.mode.startswith("I"):
        image = Image.fromarray((full_range(image) >> 8).astype(np.uint8))
    smooth = Image.Resampling.NEAREST if image.mode in PALETTES else Image.Resampling.LANCZOS
    return image.resize(size, smooth).convert("RGB")
