"""A contact sheet as one picture."""

from __future__ import annotations

from PIL import Image, ImageDraw

from clipserve.drawing import ACCENT, CARD, INK, LINE, MUTED, PAPER, rounded, write
from clipserve.sheet import Entry, Sheet, thumbnail

MARGIN = 40
GAP = 20
TILE = 240
CAPTION = 58
MAX_COLUMNS = 5
HEAD = 110
RADIUS = 10
QUERY = 150
"""Side of the picture that was searched with."""


def sheet_png(sheet: Sheet) -> Image.Image:
    """Title, then the hits row by row."""
    columns = columns_for(len(sheet.entries))
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


def columns_for(count: int) -> int:
    """3 to MAX_COLUMNS, such that few places stay empty."""
    if count <= MAX_COLUMNS:
        return max(3, count)
    return min(range(MAX_COLUMNS, 2, -1), key=lambda columns: -count % columns)


def tile(image: Image.Image, draw: ImageDraw.ImageDraw, entry: Entry, rank: int, at: tuple[int, int]) -> None:
    """A picture in its frame; below it rank, score and name."""
    left, top = at
    frame(image, draw, thumbnail(entry.path, TILE, TILE), at, TILE)
    rounded(image, (left, top + TILE + 9, left + 30, top + TILE + 31), 6, ACCENT)
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
    box = (left, top, left + side, top + side)
    rounded(image, box, RADIUS, CARD)
    if picture is None:
        write(draw, (left + side / 2, top + side / 2), "no picture", 14, MUTED, anchor="mm")
    else:
        tile = Image.new("RGB", (side, side), CARD)
        tile.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        corners = Image.new("L", (side, side))
        rounded(corners, (0, 0, side, side), RADIUS, 255)
        image.paste(tile, (left, top), corners)
    rounded(image, box, RADIUS, None, LINE)
