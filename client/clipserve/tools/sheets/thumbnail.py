"""Thumbnails for contact sheets, from untrusted files."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from clipserve.inputs.files import Below, read_regular
from clipserve.types import Collection, ImageRules, ServerInfo
from clipserve.wire.pillow_images import full_range, orientation_of

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 200_000_000
"""Pictures with more pixels get no thumbnail."""
MAX_BYTES = 256 * 1024 * 1024
"""Larger files get no thumbnail."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats that are tried, whatever the file's name. Decoders of some other formats start programs."""
PALETTES = ("1", "P", "PA")
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""Pillow's names of what makes an image of each EXIF orientation upright."""


@dataclass(frozen=True)
class ModelView:
    """How the model of a collection sees pictures."""

    rules: ImageRules = field(default_factory=ImageRules)
    resize: str = "shortest"
    """As in ModelInfo."""
    square: bool = True
    """Whether its input is a square."""

    @property
    def note(self) -> str:
        """The note on sheets about what `as_seen` does, and what the model sees of it."""
        shape = "a square" if self.square else "the shape of its input"
        part = {
            "shortest": f"The model sees {'the square in ' if self.square else ''}the middle.",
            "longest": f"The model sees the whole picture, with a border that makes it {shape}.",
            "squash": f"The model sees the whole picture, stretched to {shape}.",
        }.get(self.resize, "")
        return f"Pictures are shown as the model gets them: {self.rules}. {part}".strip()


def view_of(collection: Collection, info: ServerInfo) -> ModelView:
    """How a collection's model sees pictures; as a square in the middle if the server lacks the model."""
    for model in info.models:
        if model.name == collection.model.name:
            return ModelView(collection.image_rules, model.resize, model.image_height == model.image_width)
    return ModelView(collection.image_rules)


@dataclass(frozen=True)
class NotShown:
    """A picture that cannot be shown, and a short reason."""

    why: str


Picture: TypeAlias = Path | Below | bytes | NotShown | None
"""A file that the user named, a file below a trusted folder, bytes, or why there is no picture."""


def thumbnail(source: Picture, width: int, height: int, view: ModelView) -> Image.Image | NotShown:
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
            side = 2 * max(width, height)
            image.draft("RGB", (side, side))
            return as_seen(image, width, height, view.rules)
    except Exception:  # decoders raise any error for broken files
        return NotShown("it is not a picture, or is broken")


def as_seen(image: Image.Image, width: int, height: int, rules: ImageRules) -> Image.Image:
    """The picture in RGB, scaled to fit, by the server's rules; see ModelView.note.

    Unlike the server, it turns the small picture and puts that on the background, which looks the same.
    """
    from PIL import Image

    image.load()
    turn = TURNS.get(orientation_of(image)) if rules.apply_orientation else None
    if turn in ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"):
        width, height = height, width
    scale = min(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    background = rules.alpha_background if is_transparent(image) else ""
    if background:
        image = with_alpha(image)
    elif image.mode.startswith("I"):
        image = Image.fromarray((full_range(image) >> 8).astype(np.uint8))
    smooth = Image.Resampling.NEAREST if image.mode in PALETTES else Image.Resampling.LANCZOS
    small = image.resize(size, smooth)
    if background:
        canvas = Image.new("RGB", size, background)
        canvas.paste(small, mask=small)
        small = canvas
    small = small.convert("RGB")
    return small.transpose(Image.Transpose[turn]) if turn else small


def is_transparent(image: Image.Image) -> bool:
    """Whether the picture can have transparent pixels."""
    return "transparency" in image.info or image.mode in ("LA", "PA", "RGBA")


def with_alpha(image: Image.Image) -> Image.Image:
    """The picture in RGBA. A transparent color becomes transparent pixels."""
    from PIL import Image

    mark = image.info.get("transparency")
    if image.mode.startswith("I"):
        samples = full_range(image)
        seen = Image.fromarray((samples >> 8).astype(np.uint8)).convert("RGB")
        seen.putalpha(Image.fromarray(np.where(samples == mark, 0, 255).astype(np.uint8)))
        return seen
    if isinstance(mark, tuple) and max(mark) > 255:  # of 16-bit color, of which Pillow keeps the upper byte
        image.info["transparency"] = tuple(sample >> 8 for sample in mark)
    return image.convert("RGBA")
