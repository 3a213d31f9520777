"""A contact sheet as one HTML file with embedded pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

from clipserve.inputs.files import Below
from clipserve.tools.sheets.entries import SMALL_PICTURES, Entry, Sheet
from clipserve.tools.sheets.page import escape, page
from clipserve.tools.sheets.thumbnail import ModelView, NotShown, Picture, thumbnail

SIDE = 480
"""Longer side of the embedded pictures: twice the shown size, for high-resolution screens."""
SMALL = 80
"""Longer side of the pictures of near-duplicates."""

STYLE = """
.query { max-width: 180px; max-height: 180px; border-radius: 10px; margin-top: 14px; }
.hits { display: flex; flex-wrap: wrap; gap: 26px 20px; margin-top: 30px; }
figure { margin: 0; width: 216px; }
.frame { position: relative; height: 216px; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; overflow: hidden; color: var(--muted); text-align: center; line-height: 214px; }
.frame img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
.rank { display: inline-block; min-width: 28px; padding: 0 7px; border-radius: 6px; background: var(--accent);
  color: #fff; font-size: 13px; text-align: center; }
.why { display: inline-block; padding: 0 14px; line-height: 1.4; vertical-align: middle; }
figcaption { margin-top: 9px; }
figcaption b { font-variant-numeric: tabular-nums; margin-left: 6px; }
.name { display: block; color: var(--muted); font-size: 13.5px;
  overflow-wrap: anywhere; text-decoration: none; }
.note { display: block; color: var(--muted); font-size: 12.5px; }
.more { display: flex; flex-wrap: wrap; gap: 4px; margin-top: 7px; align-items: center;
  color: var(--muted); font-size: 12.5px; }
.more img { width: 40px; height: 40px; object-fit: cover; border-radius: 5px; border: 1px solid var(--line); }
a.name:hover { text-decoration: underline; }
.seen { margin-top: 36px; font-size: 13px; }
"""


def sheet_html(sheet: Sheet) -> str:
    return page(sheet.title, sheet.subtitle, STYLE, list(sections(sheet)))


def sections(sheet: Sheet) -> Iterator[str]:
    if sheet.query:
        yield picture(sheet.query, "picture of the query", sheet.view, "query")
    if sheet.entries:
        yield '<div class="hits">'
        yield from (figure(entry, rank, sheet.view) for rank, entry in enumerate(sheet.entries, 1))
        yield "</div>"
    else:
        yield "<p>nothing found</p>"
    yield view_note(sheet.view)


def view_note(view: ModelView) -> str:
    """The note below all pictures."""
    return f'<p class="seen">{escape(view.note)}</p>'


def figure(entry: Entry, rank: int, view: ModelView) -> str:
    """The picture in a frame, and below it rank, score, name and near-duplicates."""
    name = escape(entry.name)
    shown = picture(entry.path, entry.name, view)
    path = entry.path.path if isinstance(entry.path, Below) else entry.path
    link = f'<span class="name">{name}</span>'
    if shown.startswith("<img") and isinstance(path, Path) and path.is_absolute():
        link = f'<a class="name" href="{escape(path.as_uri())}">{name}</a>'
    note = f'<span class="note">{escape(entry.note)}</span>' if entry.note else ""
    return (
        f'<figure><div class="frame">{shown}</div>'
        f'<figcaption><span class="rank">{rank}</span><b>{entry.score:.3f}</b>{note}{link}{more(entry, view)}'
        "</figcaption></figure>"
    )


def more(entry: Entry, view: ModelView) -> str:
    """The first near-duplicates of a hit as small pictures, and their number."""
    if not entry.duplicates:
        return ""
    small = "".join(small_picture(one, view) for one in entry.duplicates[:SMALL_PICTURES])
    return f'<div class="more">{small}{escape(entry.more)}</div>'


def small_picture(entry: Entry, view: ModelView) -> str:
    """The picture of a near-duplicate; empty if it cannot be shown."""
    shown = picture(entry.path, entry.name, view, side=SMALL)
    return shown if shown.startswith("<img") else ""


def picture(path: Picture, text: str, view: ModelView, kind: str = "", side: int = SIDE) -> str:
    """The picture as an `img` element with its data, or the reason why it cannot be shown."""
    image = thumbnail(path, side, side, view)
    if isinstance(image, NotShown):
        return f'<span class="why">picture not shown: {escape(image.why)}</span>'
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85, optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    shape = f'width="{image.width}" height="{image.height}"'
    marked = f' class="{kind}"' if kind else ""
    return f'<img{marked} {shape} alt="{escape(text)}" src="data:image/jpeg;base64,{data}">'
