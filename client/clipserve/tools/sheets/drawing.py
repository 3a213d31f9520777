"""Colors, shapes and texts for pictures drawn with Pillow."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from clipserve.safe_text import one_line
from clipserve.tools.sheets.fonts import runs, width_of

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Color: TypeAlias = tuple[int, int, int]

INK: Color = (28, 32, 38)
MUTED: Color = (106, 115, 125)
PAPER: Color = (255, 255, 255)
CARD: Color = (244, 246, 248)
LINE: Color = (222, 226, 230)
ACCENT: Color = (14, 116, 144)
RIGHT: Color = (13, 118, 110)
WRONG: Color = (190, 60, 30)
MAX_CHARACTERS = 500
"""Characters of a text that are drawn at most; a line has room for fewer."""
NOTE = 18
"""Height of a line of notes."""
SUBTITLE_SIZE, SUBTITLE_LINE = 15, 21
"""Font size and height of a subtitle's line, in pixels."""
SMOOTH = 4
"""Oversampling of shapes, in each direction."""


def mix(low: Color, high: Color, share: float) -> Color:
    """The color at `share`, 0 to 1, between two colors."""
    share = min(1.0, max(0.0, share))
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return red, green, blue


def heat(share: float, *, right: bool) -> tuple[Color, Color]:
    """Background and text color of a cell with this share, 0 to 1, of its row. Small shares stay visible."""
    background = mix(PAPER, RIGHT if right else WRONG, max(0.0, share) ** 0.6)
    return background, PAPER if luminance(background) < 0.5 else INK


def luminance(color: Color) -> float:
    """The perceived brightness of a color, 0 to 1."""
    red, green, blue = color
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


def css(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def fitted(text: str, width: float, size: int) -> str:
    """The text, cut off with an ellipsis if it is wider than `width` pixels."""
    if width_of(text, size) <= width:
        return text
    kept = bisect.bisect(range(1, len(text)), width, key=lambda end: width_of(text[:end] + "…", size))
    return text[:kept].rstrip() + "…"


def wrapped(text: str, width: float, size: int) -> list[str]:
    """The words of the text in lines of at most `width` pixels. A longer word gets its own line."""
    lines = [""]
    for word in one_line(text[:MAX_CHARACTERS]).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width_of(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def write_head(draw: ImageDraw.ImageDraw, title: str, subtitle: Sequence[str], left: int, width: int) -> None:
    """Writes the title and the lines of the subtitle at the top of a sheet."""
    write(draw, (left, 62), title, 30, bold=True, width=width)
    for number, line in enumerate(subtitle):
        write(draw, (left, 90 + number * SUBTITLE_LINE), line, SUBTITLE_SIZE, MUTED, width=width)


def rounded(
    image: Image.Image,
    box: tuple[float, float, float, float],
    radius: float,
    color: Color | int | None,
    line: Color | int | None = None,
) -> None:
    """Draws a rectangle with round, smooth corners: filled, with a border of one pixel, or both."""
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


def write_notes(draw: ImageDraw.ImageDraw, notes: Sequence[str], at: tuple[int, int], width: int) -> None:
    """Writes notes below each other; `at` is the top left corner of their space."""
    for number, note in enumerate(notes):
        write(draw, (at[0], at[1] + (number + 1) * NOTE), note, 12, MUTED, width=width)


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
    """Writes one line with unsafe characters escaped.

    `anchor` is Pillow's: `ls` is the left end of the baseline, `mm` the middle.
    """
    text = one_line(text[:MAX_CHARACTERS])
    if width is not None:
        text = fitted(text, width, size)
    weight = 0.35 if bold else 0
    left = at[0] - width_of(text, size) * {"l": 0, "m": 0.5, "r": 1}[anchor[0]]
    for font, piece in runs(text, size):
        place = (left, at[1])
        draw.text(place, piece, color, font, f"l{anchor[1]}", stroke_width=weight, stroke_fill=color)
        left += font.getlength(piece)
