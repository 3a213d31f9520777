"""Orientation and transparency of decoded images.

Both rules apply to the whole image, before it is resized. The model sees a turned photograph as if it had
been stored upright, and a transparent picture as if it had been saved on the background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from clipserve_gateway.inputs.fitting import Box, eight_bit
from clipserve_gateway.inputs.image_orientation import UPRIGHT

STRIP_PIXELS = 1 << 18
"""Pixels that get their background at a time: 1 MiB."""
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
MOST_COLORS = 256
"""Of a palette."""
FULL = {"L;2": 3, "L;4": 15}
"""Largest samples of grays with fewer than 8 bits, which Pillow scales to 0–255."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image of each EXIF orientation upright."""


@dataclass(frozen=True)
class Steps:
    """What is done to an image after it was decoded.

    Attributes:
        orientation: EXIF orientation of the decoded pixels, 1–8.
        background: color under transparent pixels, RGB 0–255; None if nothing is transparent or alpha is
            dropped.
        key: the color that is transparent, as the decoder writes it; None if the image has alpha instead.
    """

    orientation: int = UPRIGHT
    background: tuple[int, int, int] | None = None
    key: tuple[int, ...] | None = None

    @property
    def any(self) -> bool:
        """Whether there is something to do."""
        return self.orientation != UPRIGHT or self.background is not None

    @property
    def swaps(self) -> bool:
        """Whether width and height change places."""
        return self.orientation > 4

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height afterwards. The same function gives the size before."""
        return size[::-1] if self.swaps else size

    def box(self, box: Box, size: tuple[int, int]) -> Box:
        """A part of an image of this size, afterwards."""
        (left, top, right, bottom), (width, height) = box, size
        if self.orientation in (2, 3, 7, 8):
            left, right = width - right, width - left
        if self.orientation in (3, 4, 6, 7):
            top, bottom = height - bottom, height - top
        return (top, left, bottom, right) if self.swaps else (left, top, right, bottom)

    def apply(self, image: Image.Image) -> Image.Image:
        """The image after all steps; at most 8 bits a channel. Closes images that it replaces."""
        if self.background is not None:
            image = replaced(image, on_background(image, self.background, self.key))
        if self.orientation != UPRIGHT:
            image = replaced(image, image.transpose(TURNS[self.orientation]))
        return eight_bit(image)


def replaced(old: Image.Image, new: Image.Image) -> Image.Image:
    """The new image. The memory of the old one becomes free now."""
    old.close()
    return new


def background_of(
    image: Image.Image, background: tuple[int, int, int] | None
) -> tuple[tuple[int, int, int] | None, tuple[int, ...] | None]:
    """The background and key of the Steps of an image that is not decoded yet."""
    mark = image.info.get("transparency")
    if background is None or (mark is None and image.mode not in ALPHA_MODES):
        return None, None
    if isinstance(mark, bytes):
        # A damaged file may have more than the largest palette, which Pillow would refuse.
        image.info["transparency"] = mark[:MOST_COLORS]
    if mark is None or image.mode in (*ALPHA_MODES, "P"):
        return background, None
    return background, decoded_key(image, mark)


def decoded_key(image: Image.Image, mark: int | tuple[int, ...]) -> tuple[int, ...]:
    """The transparent color of a file, as its decoder writes it.

    PNG gives it in 16 bits for each sample; of those, samples with fewer bits have the lower ones.
    """
    raw_modes = [tile[3][0] if isinstance(tile[3], tuple) else tile[3] for tile in getattr(image, "tile", ())]
    raw_mode = str(raw_modes[0]) if raw_modes else ""
    samples = mark if isinstance(mark, tuple) else (mark,)
    if raw_mode in FULL:
        most = FULL[raw_mode]
        return tuple((sample & most) * 255 // most for sample in samples)
    if raw_mode == "RGB;16B":
        # The decoder keeps the upper byte of 16-bit color.
        return tuple(sample >> 8 for sample in samples)
    return tuple(sample & 0xFF for sample in samples) if image.mode in ("L", "RGB") else samples


def on_background(
    image: Image.Image, background: tuple[int, int, int], key: tuple[int, ...] | None
) -> Image.Image:
    """The image in RGB in front of a background.

    A pixel of color c and opacity a (0–255) becomes (a × c + (255 − a) × background) / 255, rounded.
    """
    canvas = Image.new("RGB", image.size, background)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        if key is None:
            strip = strip.convert("RGBA")
            canvas.paste(strip, (0, top), strip)
        else:
            samples = np.asarray(strip.convert("L") if strip.mode == "1" else strip)
            clear = samples == key[0] if samples.ndim == 2 else (samples == key).all(axis=2)
            opaque = Image.fromarray(np.where(clear, 0, 255).astype(np.uint8))
            canvas.paste(eight_bit(strip).convert("RGB"), (0, top), opaque)
    return canvas
