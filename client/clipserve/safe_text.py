"""Makes untrusted text safe to print.

Names, ids, payloads, labels, file names and error messages can contain escape sequences that write to the
clipboard, characters that reverse the direction of writing, or line ends that look like another message. They
are printed as Python escapes: `\\x1b`, `\\u202e`, `\\n`.
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
"""Allows line feeds and tabs."""


def one_line(text: str) -> str:
    """The text with unsafe characters escaped, including line ends and tabs."""
    return UNSAFE.sub(escaped, text)


def safe_lines(text: str) -> str:
    """The text with unsafe characters escaped, except line feeds and tabs."""
    return UNSAFE_BUT_LINES.sub(escaped, text)


def json_text(document: Mapping[str, Any], indent: int | None = None) -> str:
    """The document as equivalent JSON without unsafe characters, which JSON can escape itself."""
    text = json.dumps(document, ensure_ascii=False, indent=indent, default=str)
    return UNSAFE_BUT_LINES.sub(lambda match: json.dumps(match[0])[1:-1], text)


QUOTED = 80
"""Maximum characters of a value in an error message."""
LONG_WORD = re.compile(r"\S{200,}")


def quoted(value: object, limit: int = QUOTED) -> str:
    """The value's repr for a message. Of a long text, only its beginning and its length."""
    if isinstance(value, str | bytes) and len(value) > limit:
        unit = "characters" if isinstance(value, str) else "bytes"
        return f"{value[: limit - 20]!r}… ({len(value):,} {unit})"
    text = repr(value)
    return text if len(text) <= 2 * limit else f"{text[: limit - 20]}… ({len(text):,} characters)"


def shortened(message: str, limit: int = 2_000) -> str:
    """A message with long values cut: words from 200 characters on, and the middle beyond `limit` characters.
    The end stays, because it says what to do."""
    text = LONG_WORD.sub(lambda word: f"{word[0][:60]}… ({len(word[0]):,} characters)", message)
    if len(text) <= limit:
        return text
    end = limit // 4
    return f"{text[: limit - end]} … {text[-end:]}"


def escaped(match: re.Match[str]) -> str:
    """One character as a Python escape."""
    return match[0].encode("unicode_escape").decode()
