"""A contact sheet as one picture."""

from __future__ import annotations

from PIL import Image, ImageDraw

from clipserve.drawing import ACCENT, CARD, INK, LINE, MUTED, PAPER, write
from clipserve.sheet import Entry, Sheet, thumbnail

MARGIN = 40
GAP = 20
TILE = 240
CAPTION = 58
MAX_COLUMNS = 5
HEAD = 110
QUERY = 150
"""Side of the picture that was searched with."""


def sheet_png(sheet: Sheet) -> Image.Image:
    """Title, then the hits row by row."""
    columns = min(MAX_COLUMNS, max(3, len(sheet.entries)))
    rows = -(-len(sheet.entries) // columns)
    head = HEAD + (QUERY + 24 if sheet.query else 0)
    width = 2 * MARGIN + columns * TILE + (columns - 1) * GAP
    height = head + rows * (TILE + CAPTION + GAP) + MARGIN - GAP if rows else head + 60
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    write(draw, (MARGIN, 62), sheet.title, 30, bold=True, width=width - 2 * MARGIN)
    write(draw, (MARGIN, 90), sheet.subtitle, 15, MUTED, width=width - 2 * MARGIN)
    if sheet.query:
        frame(image, draw, thumbnail(sheet.query, QUERY, QUERY), (MARGIN, HEAD), QUERY)
    for i, entry in enumerate(sheet.entries):
        left = MARGIN + i % columns * (TILE + GAP)
        top = head + i // columns * (TILE + CAPTION + GAP)
        tile(image, draw, entry, i + 1, (left, top))
    if not sheet.entries:
        write(draw, (MARGIN, head + 20), "nothing found", 18, MUTED)
    return image


def tile(image: Image.Image, draw: ImageDraw.ImageDraw, entry: Entry, rank: int, at: tuple[int, int]) -> None:
    """A picture in its frame; below it rank, score and name."""
    left, top = at
    frame(image, draw, thumbnail(entry.path, TILE, TILE), at, TILE)
    draw.rounded_rectangle((left, top + TILE + 9, left + 30, top + TILE + 31), 6, ACCENT)
    write(draw, (left + 15, top + TILE + 20), f"{rank}", 14, PAPER, anchor="mm")
    write(draw, (left + 40, top + TILE + 26), f"{entry.score:.3f}", 17, INK, bold=True)
    write(draw, (left, top + TILE + 50), entry.name, 14, MUTED, width=TILE)


def frame(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    picture: Image.Image | None,
    at: tuple[int, int],
    side: int,
) -> None:
    """A square with the picture in its middle, or with a note that there is none."""
    left, top = at
    draw.rounded_rectangle((left, top, left + side - 1, top + side - 1), 10, CARD, LINE)
    if picture is None:
        write(draw, (left + side / 2, top + side / 2), "no picture", 14, MUTED, anchor="mm")
        return
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, side - 1, side - 1), 10, 255)
    x, y = (side - picture.width) // 2, (side - picture.height) // 2
    mask = mask.crop((x, y, x + picture.width, y + picture.height))
    image.paste(picture, (left + x, top + y), mask)
