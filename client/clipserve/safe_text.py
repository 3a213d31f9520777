"""Text of others made safe to show.

Names, ids, payloads, labels, file names and error texts come from elsewhere and may hold escape sequences
that write to the clipboard, characters that turn the order of letters around, or line ends that look like
another message. They are shown as Python writes them: `\\x1b`, `\\u202e`, `\\n`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

MISLEADING = (
    "\x7f-\x9f"  # DEL and C1, among them CSI and OSC in one character
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction of writing
    "\u2028\u2029"  # line and paragraph separators
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # invisible
    "\U000e0000-\U000e007f"  # tags, invisible too
    "\ud800-\udfff"  # halves of surrogate pairs, which cannot be encoded
)
UNSAFE = re.compile(f"[\x00-\x1f{MISLEADING}]")
UNSAFE_BUT_LINES = re.compile(f"[\x00-\x08\x0b-\x1f{MISLEADING}]")
"""Line feeds and tabs may stay."""


def one_line(text: str) -> str:
    """The text with its unsafe characters escaped, line ends and tabs among them."""
    return UNSAFE.sub(escaped, text)


def safe_lines(text: str) -> str:
    """The same, with line feeds and tabs left as they are."""
    return UNSAFE_BUT_LINES.sub(escaped, text)


def json_text(document: Mapping[str, Any], indent: int | None = None) -> str:
    """The document as JSON that means the same and holds no unsafe character: JSON has escapes of its own."""
    text = json.dumps(document, ensure_ascii=False, indent=indent, default=str)
    return UNSAFE_BUT_LINES.sub(lambda found: json.dumps(found[0])[1:-1], text)


QUOTED = 80
"""Characters of a value that an error quotes."""
LONG_WORD = re.compile(r"\S{200,}")


def quoted(value: object, limit: int = QUOTED) -> str:
    """The value as Python writes it, for a message: of a long text its beginning, and how long it is."""
    if isinstance(value, str | bytes) and len(value) > limit:
        unit = "characters" if isinstance(value, str) else "bytes"
        return f"{value[: limit - 20]!r}… ({len(value):,} {unit})"
    text = repr(value)
    return text if len(text) <= 2 * limit else f"{text[: limit - 20]}… ({len(text):,} characters)"


def shortened(message: str, limit: int = 2_000) -> str:
    """A message in which values of others are cut: words of 200 characters and more, and what is beyond
    `limit` characters but for the end, which says what to do."""
    text = LONG_WORD.sub(lambda word: f"{word[0][:60]}… ({len(word[0]):,} characters)", message)
    if len(text) <= limit:
        return text
    end = limit // 4
    return f"{text[: limit - end]} … {text[-end:]}"


def escaped(found: re.Match[str]) -> str:
    """One character as Python writes it."""
    return found[0].encode("unicode_escape").decode()
