"""Sheets of near-duplicates: a row of pictures for each group, as PNG or HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clipserve.tools.sheets.entries import SUFFIXES, Entry, notes_of
from clipserve.tools.sheets.page import escape, page
from clipserve.tools.sheets.thumbnail import ModelView

if TYPE_CHECKING:
    from PIL import Image

SHOWN_MEMBERS = 8
SHOWN_GROUPS = {".png": 40, ".html": 200}
"""Maximum number of rows: larger files are too large for viewers."""

STYLE = """
h2 { margin: 34px 0 10px; font-size: 16px; }
.hits { display: flex; flex-wrap: wrap; gap: 20px; }
"""


@dataclass(frozen=True)
class Row:
    """A group of near-duplicates."""

    entries: Sequence[Entry]
    """The first is the one to keep. Scores are cosines with it."""

    @property
    def title(self) -> str:
        more = len(self.entries) - SHOWN_MEMBERS
        return f"{len(self.entries)} pictures" + (f", {more} of them not shown" if more > 0 else "")


@dataclass(frozen=True)
class GroupSheet:
    """The contents of a sheet."""

    title: str
    subtitle: str
    rows: Sequence[Row]
    view: ModelView = field(default_factory=ModelView)
    """How the model sees the pictures."""


def write_group_sheet(sheet: GroupSheet, path: Path) -> int:
    """Writes .png, or .html with embedded pictures; returns the number of groups on the sheet.

    Raises ValueError for another suffix.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"sheets are written as .png or .html, not as {path.name!r}")
    rows = sheet.rows[: SHOWN_GROUPS[path.suffix]]
    left = len(sheet.rows) - len(rows)
    subtitle = sheet.subtitle + (f" · {left:,} smaller groups are not shown" if left else "")
    shown = GroupSheet(sheet.title, subtitle, rows, sheet.view)
    if path.suffix == ".png":
        draw_sheet(shown).save(path, "PNG", optimize=True)
    else:
        path.write_text(page(shown.title, shown.subtitle, *html_body(rows, sheet.view)), encoding="utf-8")
    return len(rows)


def html_body(rows: Sequence[Row], view: ModelView) -> tuple[str, list[str]]:
    from clipserve.tools.sheets.contact_sheet_html import STYLE as TILES
    from clipserve.tools.sheets.contact_sheet_html import figure, view_note

    def parts() -> Iterator[str]:
        for number, row in enumerate(rows, 1):
            yield f'<h2>{number} · {escape(row.title)}</h2><div class="hits">'
            shown = enumerate(row.entries[:SHOWN_MEMBERS], 1)
            yield from (figure(entry, rank, view) for rank, entry in shown)
            yield "</div>"
        if not rows:
            yield "<p>no near-duplicates</p>"
        yield view_note(view)

    return TILES + STYLE, list(parts())


def draw_sheet(sheet: GroupSheet) -> Image.Image:
    from PIL import Image, ImageDraw

    from clipserve.tools.sheets.contact_sheet_png import CAPTION, GAP, HEAD, MARGIN, TILE, tile
    from clipserve.tools.sheets.drawing import (
        MUTED,
        NOTE,
        PAPER,
        SUBTITLE_LINE,
        SUBTITLE_SIZE,
        wrapped,
        write,
        write_head,
        write_notes,
    )

    heading = 34
    pitch = heading + TILE + CAPTION + GAP
    columns = max([3, *(min(len(row.entries), SHOWN_MEMBERS) for row in sheet.rows)])
    width = 2 * MARGIN + columns * (TILE + GAP) - GAP
    subtitle = wrapped(sheet.subtitle, width - 2 * MARGIN, SUBTITLE_SIZE)
    head = HEAD + (len(subtitle) - 1) * SUBTITLE_LINE
    below = head + (pitch * len(sheet.rows) or 60)
    entries = [entry for row in sheet.rows for entry in row.entries[:SHOWN_MEMBERS]]
    notes = notes_of((sheet.title, sheet.subtitle), entries, sheet.view)
    image = Image.new("RGB", (width, below + len(notes) * NOTE + MARGIN), PAPER)
    draw = ImageDraw.Draw(image)
    write_head(draw, sheet.title, subtitle, MARGIN, width - 2 * MARGIN)
    for i, row in enumerate(sheet.rows):
        top = head + i * pitch
        write(draw, (MARGIN, top + 22), f"{i + 1} · {row.title}", 16, bold=True)
        for rank, entry in enumerate(row.entries[:SHOWN_MEMBERS], 1):
            at = MARGIN + (rank - 1) * (TILE + GAP), top + heading
            tile(image, draw, entry, rank, at, sheet.view)
    if not sheet.rows:
        write(draw, (MARGIN, head + 20), "no near-duplicates", 18, MUTED)
    write_notes(draw, notes, (MARGIN, below), width - 2 * MARGIN)
    return image
