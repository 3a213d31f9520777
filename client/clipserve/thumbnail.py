"""Small pictures for contact sheets, of files that may be anything."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from clipserve.files import Below, read_regular

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 200_000_000
"""Larger pictures are not opened for a thumbnail."""
MAX_BYTES = 256 * 1024 * 1024
"""Nor are larger files."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is looked for in a file, whatever its name. Some others start programs."""


@dataclass(frozen=True)
class NotShown:
    """Why there is no picture, in a few words."""

    why: str


Picture: TypeAlias = Path | Below | bytes | NotShown | None
"""What a sheet shows: a file that the user named, one below a trusted folder, its bytes, or why nothing."""


def thumbnail(source: Picture, width: int, height: int) -> Image.Image | NotShown:
    """The picture, upright and on white, as large as fits."""
    from PIL import Image, ImageOps

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
            upright = ImageOps.exif_transpose(image)
            return ImageOps.contain(on_white(upright), (width, height), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
        return NotShown("it is not a picture, or a broken one")


def on_white(image: Image.Image) -> Image.Image:
    """RGB, with white where the picture is transparent."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256).convert("L")
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return image.convert("RGB")
