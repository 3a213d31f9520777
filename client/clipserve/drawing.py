"""What pictures drawn with Pillow share: fonts, colors, text that fits."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, TypeAlias

from clipserve.safe_text import one_line

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    Font: TypeAlias = ImageFont.ImageFont | ImageFont.FreeTypeFont

Color: TypeAlias = tuple[int, int, int]

INK: Color = (28, 32, 38)
MUTED: Color = (106, 115, 125)
PAPER: Color = (255, 255, 255)
CARD: Color = (244, 246, 248)
LINE: Color = (222, 226, 230)
ACCENT: Color = (14, 116, 144)
RIGHT: Color = (13, 118, 110)
WRONG: Color = (190, 60, 30)
LONGEST = 500
"""Characters of a text that are drawn at most: a line has room for fewer, and fitting takes time for each."""
SMOOTH = 4
"""Pixels drawn for one that is shown, each way."""
WIDE_SCRIPTS = (
    "NotoSansCJK-Regular.ttc",
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
)
"""Fonts of the system with more than Latin letters, tried where a text needs them."""


def mix(low: Color, high: Color, share: float) -> Color:
    """The color between two, at 0 … 1."""
    share = min(1.0, max(0.0, share))
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return red, green, blue


def heat(share: float, *, right: bool) -> tuple[Color, Color]:
    """Background and text color of a cell with 0 … 1 of its row; small shares are made visible."""
    background = mix(PAPER, RIGHT if right else WRONG, max(0.0, share) ** 0.6)
    return background, PAPER if luminance(background) < 0.5 else INK


def luminance(color: Color) -> float:
    """How light a color looks, 0 … 1."""
    red, green, blue = color
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


def css(color: Color) -> str:
    """The color as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def font(size: int, text: str = "") -> Font:
    """A font that comes with Pillow, or one of the system for letters that this has not."""
    wide = any(ord(letter) > 0x17F and letter not in "–—…−·×’“”" for letter in text)
    return wide_font(size) if wide else plain_font(size)


@functools.cache
def plain_font(size: int) -> Font:
    """The font that comes with Pillow: Latin letters."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


@functools.cache
def wide_font(size: int) -> Font:
    """The first font of the system with more letters; else the plain one."""
    from PIL import ImageFont

    for name in WIDE_SCRIPTS:
        with contextlib.suppress(OSError):
            return ImageFont.truetype(name, size)
    return plain_font(size)


def fitted(text: str, width: float, chosen: Font) -> str:
    """The text, with its end replaced by an ellipsis where it is wider than `width` pixels."""
    if chosen.getlength(text) <= width:
        return text
    while text and chosen.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def rounded(
    image: Image.Image,
    box: tuple[float, float, float, float],
    radius: float,
    color: Color | int | None,
    line: Color | int | None = None,
) -> None:
    """A rectangle with smooth round corners: filled, or with a line of one pixel, or both."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = (round(side) for side in box)
    size = (right - left, bottom - top)
    for paint, width in ((color, 0), (line, SMOOTH)):
        if paint is None:
            continue
        mask = Image.new("L", (size[0] * SMOOTH, size[1] * SMOOTH))
        shape = (0, 0, mask.width - 1, mask.height - 1)
        fill = None if width else 255
        ImageDraw.Draw(mask).rounded_rectangle(shape, radius * SMOOTH, fill, 255, width)
        image.paste(paint, (left, top), mask.resize(size, Image.Resampling.BOX))


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    color: Color = INK,
    *,
    anchor: str = "ls",
    width: float | None = None,
    bold: bool = False,
) -> None:
    """Writes one line, unsafe characters escaped.

    `anchor` as Pillow has it: `ls` is the left end of the baseline.
    """
    text = one_line(text[:LONGEST])
    chosen = font(size, text)
    if width is not None:
        text = fitted(text, width, chosen)
    weight = 0.35 if bold else 0
    draw.text(at, text, fill=color, font=chosen, anchor=anchor, stroke_width=weight, stroke_fill=color)
