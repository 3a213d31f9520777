"""What a contact sheet shows: pictures with rank, score and name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clipserve.tools.sheets.drawing import LONGEST
from clipserve.tools.sheets.thumbnail import SEEN, Picture

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
    from clipserve.tools.sheets.fonts import UNKNOWN_NOTE, has_unknown

    written = (*texts, *(text for entry in entries for text in (entry.name, entry.note)))
    return [SEEN, *([UNKNOWN_NOTE] if any(has_unknown(text[:LONGEST]) for text in written) else [])]
