"""Contact sheets: the pictures that were found, with rank, score and name, as PNG or HTML."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipserve.images import ImageLike

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".html", ".png")
SMALL_PICTURES = 4
"""Near-duplicates that are shown of each hit, at most."""
MAX_PIXELS = 200_000_000
"""Larger pictures are not opened for a thumbnail."""


@dataclass(frozen=True)
class Entry:
    """One hit."""

    name: str
    """What is written below the picture."""
    score: float
    """Cosine, −1 … 1."""
    path: Path | None
    """The picture's file; None or a file that cannot be read leaves an empty frame."""
    note: str = ""
    """What its score is worth, in a few words."""
    duplicates: Sequence[Entry] = ()
    """Near-duplicates, shown small below it."""

    @property
    def more(self) -> str:
        """How many near-duplicates there are, in words."""
        return f"+{len(self.duplicates)} near-duplicate{'s' * (len(self.duplicates) != 1)}"


@dataclass(frozen=True)
class Sheet:
    """What a sheet shows."""

    title: str
    subtitle: str
    entries: Sequence[Entry]
    """Best first."""
    query: Path | None = None
    """The picture that was searched with, if any."""


def write_sheet(sheet: Sheet, path: Path) -> None:
    """Writes .png, or .html with the pictures inside. ValueError for another suffix."""
    if path.suffix == ".png":
        from clipserve.sheet_png import sheet_png

        sheet_png(sheet).save(path, "PNG", optimize=True)
    elif path.suffix == ".html":
        from clipserve.sheet_html import sheet_html

        path.write_text(sheet_html(sheet), encoding="utf-8")
    else:
        raise ValueError(f"contact sheets are written as .png or .html, not as {path.name!r}")


def thumbnail(source: ImageLike | None, width: int, height: int) -> Image.Image | None:
    """The picture, upright and on white, as large as fits; None if it cannot be read."""
    from PIL import Image, ImageOps

    if not isinstance(source, Path | bytes):
        return None
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (2 * width, 2 * height))
            upright = ImageOps.exif_transpose(image)
            return ImageOps.contain(on_white(upright), (width, height), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


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
