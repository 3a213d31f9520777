"""The contents of a contact sheet: pictures with rank, score and name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from clipserve.tools.sheets.drawing import MAX_CHARACTERS
from clipserve.tools.sheets.thumbnail import ModelView, Picture

SUFFIXES = (".html", ".png")
SMALL_PICTURES = 4
"""Maximum number of near-duplicates shown for each hit."""


@dataclass(frozen=True)
class Entry:
    """One hit."""

    name: str
    """Written below the picture."""
    score: float
    """Cosine, −1 to 1."""
    path: Picture
    """The picture; if it cannot be shown, the frame has the reason."""
    note: str = ""
    """A short judgement of the score."""
    duplicates: Sequence[Entry] = ()
    """Near-duplicates, shown as small pictures."""

    @property
    def more(self) -> str:
        return f"+{len(self.duplicates)} near-duplicate{'s' * (len(self.duplicates) != 1)}"


@dataclass(frozen=True)
class Sheet:
    """The contents of a contact sheet."""

    title: str
    subtitle: str
    entries: Sequence[Entry]
    """Best first."""
    query: Picture = None
    """The picture of the query, if it has one."""
    view: ModelView = field(default_factory=ModelView)
    """How the model sees the pictures."""


def notes_of(texts: Iterable[str], entries: Iterable[Entry], view: ModelView) -> list[str]:
    from clipserve.tools.sheets.fonts import UNKNOWN_NOTE, has_unknown

    written = (*texts, *(text for entry in entries for text in (entry.name, entry.note)))
    return [
        view.note,
        *([UNKNOWN_NOTE] if any(has_unknown(text[:MAX_CHARACTERS]) for text in written) else []),
    ]
