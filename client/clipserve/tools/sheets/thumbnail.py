"""Small pictures for contact sheets, of files that may be anything."""

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
"""Larger pictures are not opened for a thumbnail."""
MAX_BYTES = 256 * 1024 * 1024
"""Nor are larger files."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is looked for in a file, whatever its name. Some others start programs."""
PALETTES = ("1", "P", "PA")
SEEN = (
    "Pictures are shown as the model gets them: EXIF orientation is not applied, alpha is dropped. "
    "It sees the square in the middle."
)
"""What `as_seen` does, and what sheets say of it."""


@dataclass(frozen=True)
class NotShown:
    """Why there is no picture, in a few words."""

    why: str


Picture: TypeAlias = Path | Below | bytes | NotShown | None
"""What a sheet shows: a file that the user named, one below a trusted folder, its bytes, or why nothing."""


def thumbnail(source: Picture, width: int, height: int) -> Image.Image | NotShown:
    """The picture, RGB, as the model sees it, as large as fits."""
    from PIL import Image

    if source is None:
        return NotShown("its point does not say where it lies")
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
    except Exception:  # whatever a broken file makes its decoder raise
        return NotShown("it is not a picture, or a broken one")


def as_seen(image: Image.Image, width: int, height: int) -> Image.Image:
    """The picture as large as fits, RGB, with the server's policy for what pictures may be; see SEEN."""
    from PIL import Image

    image.load()
    scale = min(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    if image.mode.startswith("I"):
        image = Image.fromarray((full_range(image) >> 8).astype(np.uint8))
    smooth = Image.Resampling.NEAREST if image.mode in PALETTES else Image.Resampling.LANCZOS
    return image.resize(size, smooth).convert("RGB")
