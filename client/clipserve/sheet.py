"""Contact sheets: the pictures that were found, with rank, score and name, as PNG or HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipserve.drawing import LONGEST
from clipserve.thumbnail import SEEN, Picture

SUFFIXES = (".html", ".png")
SMALL_PICTURES = 4
"""Near-duplicates that are shown of each hit, at most."""


@dataclass(frozen=True)
class Entry:
    """One hit."""

    name: str
    """What is written below the picture."""
    score: float
    """Cosine, −1 … 1."""
    path: Picture
    """The picture's file; one that is not shown leaves a frame with the reason."""
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
    query: Picture = None
    """The picture that was searched with, if any."""


def notes_of(texts: Iterable[str], entries: Iterable[Entry]) -> list[str]:
    """What a drawn sheet says below its pictures."""
    from clipserve.fonts import UNKNOWN_NOTE, has_unknown

    written = (*texts, *(text for entry in entries for text in (entry.name, entry.note)))
    return [SEEN, *([UNKNOWN_NOTE] if any(has_unknown(text[:LONGEST]) for text in written) else [])]


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
