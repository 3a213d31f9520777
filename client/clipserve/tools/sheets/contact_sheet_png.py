"""A contact sheet as a PNG picture."""

from __future__ import annotations

from PIL import Image, ImageDraw

from clipserve.tools.sheets.drawing import (
    ACCENT,
    CARD,
    INK,
    LINE,
    MUTED,
    NOTE,
    PAPER,
    SUBTITLE_LINE,
    SUBTITLE_SIZE,
    rounded,
    wrapped,
    write,
    write_head,
    write_notes,
)
from clipserve.tools.sheets.entries import SMALL_PICTURES, Entry, Sheet, notes_of
from clipserve.tools.sheets.thumbnail import ModelView, NotShown, thumbnail

MARGIN = 40
GAP = 20
TILE = 240
CAPTION = 58
SMALL = 36
"""Side of the picture of a near-duplicate."""
MAX_COLUMNS = 5
HEAD = 110
RADIUS = 10
QUERY = 150
"""Side of the picture of the query."""


def sheet_png(sheet: Sheet) -> Image.Image:
    columns = columns_for(len(sheet.entries))
    strip = SMALL + 12 if any(entry.duplicates for entry in sheet.entries) else 0
    pitch = TILE + CAPTION + strip + GAP
    rows = -(-len(sheet.entries) // columns)
    width = 2 * MARGIN + columns * TILE + (columns - 1) * GAP
    subtitle = wrapped(sheet.subtitle, width - 2 * MARGIN, SUBTITLE_SIZE)
    top_of_query = HEAD + (len(subtitle) - 1) * SUBTITLE_LINE
    head = top_of_query + (QUERY + 24 if sheet.query else 0)
    below = head + rows * pitch - GAP if rows else head + 40
    notes = notes_of((sheet.title, sheet.subtitle), sheet.entries, sheet.view)
    height = below + len(notes) * NOTE + MARGIN
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    write_head(draw, sheet.title, subtitle, MARGIN, width - 2 * MARGIN)
    if sheet.query:
        query = thumbnail(sheet.query, QUERY, QUERY, sheet.view)
        frame(image, draw, query, (MARGIN, top_of_query), QUERY)
    for i, entry in enumerate(sheet.entries):
        left = MARGIN + i % columns * (TILE + GAP)
        top = head + i // columns * pitch
        tile(image, draw, entry, i + 1, (left, top), sheet.view)
    if not sheet.entries:
        write(draw, (MARGIN, head + 20), "nothing found", 18, MUTED)
    write_notes(draw, notes, (MARGIN, below), width - 2 * MARGIN)
    return image


def columns_for(count: int) -> int:
    """The number of columns, 3 to MAX_COLUMNS, with the fewest empty places."""
    if count <= MAX_COLUMNS:
        return max(3, count)
    return min(range(MAX_COLUMNS, 2, -1), key=lambda columns: -count % columns)


def tile(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    entry: Entry,
    rank: int,
    at: tuple[int, int],
    view: ModelView,
) -> None:
    """Draws a picture in a frame, and below it rank, score, name and near-duplicates."""
    left, top = at
    frame(image, draw, thumbnail(entry.path, TILE, TILE, view), at, TILE)
    rounded(image, (left, top + TILE + 9, left + 30, top + TILE + 31), 6, ACCENT)
    write(draw, (left + 15, top + TILE + 20), f"{rank}", 14, PAPER, anchor="mm")
    write(draw, (left + 40, top + TILE + 26), f"{entry.score:.3f}", 17, INK, bold=True)
    write(draw, (left + TILE, top + TILE + 25), entry.note, 12, MUTED, anchor="rs", width=TILE - 96)
    write(draw, (left, top + TILE + 50), entry.name, 14, MUTED, width=TILE)
    if entry.duplicates:
        small(image, draw, entry, (left, top + TILE + CAPTION + 4), view)


def small(
    image: Image.Image, draw: ImageDraw.ImageDraw, entry: Entry, at: tuple[int, int], view: ModelView
) -> None:
    """Draws the first near-duplicates of a hit as small pictures, and their number."""
    left, top = at
    shown = [thumbnail(one.path, SMALL, SMALL, view) for one in entry.duplicates[:SMALL_PICTURES]]
    for picture in shown:
        if isinstance(picture, NotShown):
            continue
        corners = Image.new("L", picture.size)
        rounded(corners, (0, 0, *picture.size), 4, 255)
        image.paste(picture, (left, top + (SMALL - picture.height) // 2), corners)
        left += picture.width + 4
    room = at[0] + TILE - left - 4
    words = entry.more if room > 110 else entry.more.partition(" ")[0]
    write(draw, (left + 4, top + SMALL // 2 + 5), words, 13, MUTED, width=room)


def frame(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    picture: Image.Image | NotShown,
    at: tuple[int, int],
    side: int,
) -> None:
    """Draws a square with the centered picture, or with the reason why it cannot be shown."""
    left, top = at
    box = (left, top, left + side, top + side)
    rounded(image, box, RADIUS, CARD)
    if isinstance(picture, NotShown):
        middle = left + side / 2
        write(
            draw, (middle, top + side / 2 - 9), "picture not shown:", 13, MUTED, anchor="mm", width=side - 8
        )
        write(draw, (middle, top + side / 2 + 9), picture.why, 13, MUTED, anchor="mm", width=side - 8)
    else:
        tile = Image.new("RGB", (side, side), CARD)
        tile.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        corners = Image.new("L", (side, side))
        rounded(corners, (0, 0, side, side), RADIUS, 255)
        image.paste(tile, (left, top), corners)
    rounded(image, box, RADIUS, None, LINE)
