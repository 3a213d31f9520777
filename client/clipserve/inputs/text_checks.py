"""Detects texts that are not words: a URL, a data URI, an image in base64, the path of a file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from clipserve.safe_text import quoted

URL = re.compile(r"(?:https?|ftp|file|s3|gs)://\S+", re.IGNORECASE)
DATA_URI = re.compile(r"data:[\w.+-]{0,127}/?[\w.+-]{0,127}[;,]", re.IGNORECASE)
BASE64 = re.compile(r"(?:/9j/|iVBORw0KGgo|R0lGOD|UklGR)[A-Za-z0-9+/]{60}")
"""How base64 of JPEG, PNG, GIF and WebP begins."""
PATH_LENGTH = 4096
"""Maximum length of a path in characters."""
LOOKED_UP = 1_000
"""Number of texts per call that are looked up as paths."""


def text_kind(text: str) -> str:
    """What the text is, with its article, e.g. `a URL`; empty for words."""
    return encoded_kind(text) or ("the path of a file" if is_path(text.strip()) else "")


def encoded_kind(text: str) -> str:
    """Like text_kind, without looking for files."""
    text = text[: PATH_LENGTH + 1].strip()
    if DATA_URI.match(text):
        return "a data URI"
    if BASE64.match(text):
        return "an image in base64"
    return "a URL" if URL.fullmatch(text) else ""


def is_path(text: str) -> bool:
    """Whether the text is the path of an existing file. Only looks up texts with a dot or a slash."""
    if len(text) > PATH_LENGTH or not re.search(r"[./\\]", text.strip(".")):
        return False
    try:
        return os.path.exists(os.path.expanduser(text))
    except ValueError:  # a NUL, or characters that no file name can have
        return False


@dataclass
class TextCheck:
    """Checks the texts of one call, for one warning about all of them."""

    first: str = ""
    """The first text that is not words: its argument, its kind and its beginning."""
    count: int = 0
    seen: int = 0

    def add(self, where: str, text: str) -> None:
        """Checks one text; `where` is its argument, e.g. `texts[3]`."""
        self.seen += 1
        # More lookups could take long on a slow disk.
        kind = text_kind(text) if self.seen <= LOOKED_UP else encoded_kind(text)
        if kind:
            self.count += 1
            self.first = self.first or f"{where} looks like {kind}: {quoted(text)}"

    def warning(self) -> str:
        """The warning for the caller; empty if all texts are words."""
        if not self.count:
            return ""
        more = f" (and {self.count - 1} more like it)" if self.count > 1 else ""
        return (
            f"{self.first}{more}. It is used as words; nothing is opened or downloaded. To use an image, "
            "pass its file or its bytes as an image"
        )
