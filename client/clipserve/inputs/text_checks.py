"""Texts that are probably not meant as words: a URL, a data URI, a picture in base64, the path of a file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from clipserve.safe_text import quoted

URL = re.compile(r"(?:https?|ftp|file|s3|gs)://\S+", re.IGNORECASE)
DATA_URI = re.compile(r"data:[\w.+-]*/?[\w.+-]*[;,]", re.IGNORECASE)
BASE64 = re.compile(r"(?:/9j/|iVBORw0KGgo|R0lGOD|UklGR)[A-Za-z0-9+/]{60}")
"""How JPEG, PNG, GIF and WebP begin in base64."""
PATH_LENGTH = 4096
"""Characters of the longest path."""
LOOKED_UP = 1_000
"""Texts of a call that are looked for on disk: the first ones."""


def kind_of(text: str) -> str:
    """What a text looks like, with its article; empty for words."""
    return encoded_kind(text) or ("the path of a file" if is_path(text.strip()) else "")


def encoded_kind(text: str) -> str:
    """The same, for what looks so wherever it is read."""
    text = text[: PATH_LENGTH + 1].strip()
    if DATA_URI.match(text):
        return "a data URI"
    if BASE64.match(text):
        return "a picture in base64"
    return "a URL" if URL.fullmatch(text) else ""


def is_path(text: str) -> bool:
    """Whether something lies at this path. Only what has a dot or a slash is looked for."""
    if len(text) > PATH_LENGTH or not re.search(r"[./\\]", text.strip(".")):
        return False
    try:
        return os.path.exists(os.path.expanduser(text))
    except ValueError:  # a NUL, or what no file name can hold
        return False


@dataclass
class TextCheck:
    """Looks at the texts of one call, and says one sentence about all of them."""

    first: str = ""
    """The first text that looks like something else: where it is, what it looks like, and how it begins."""
    count: int = 0
    seen: int = 0

    def see(self, where: str, text: str) -> None:
        """Looks at one text; `where` names it, for example `texts[3]`."""
        self.seen += 1
        # On a slow disk the rest would cost more than the hint is worth.
        kind = kind_of(text) if self.seen <= LOOKED_UP else encoded_kind(text)
        if kind:
            self.count += 1
            self.first = self.first or f"{where} looks like {kind}: {quoted(text)}"

    def sentence(self) -> str:
        """What to tell the caller; empty where all texts are words."""
        if not self.count:
            return ""
        more = f" (and {self.count - 1} more like it)" if self.count > 1 else ""
        return (
            f"{self.first}{more}. It is read as words; nothing is opened or fetched. Give a picture as an "
            "image: its file or its bytes"
        )
