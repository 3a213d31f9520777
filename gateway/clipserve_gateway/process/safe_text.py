"""Makes text from callers and other programs safe to show.

Escapes characters that could mislead a terminal or a reader: control characters, changes of the writing
direction, line separators, invisible characters, and halves of surrogate pairs.
"""

from __future__ import annotations

import json
import re

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Line feeds and tabs are not among these."""


def safe_lines(text: str) -> str:
    """The text with unsafe characters escaped as in Python, `\\x1b`. Line feeds and tabs stay."""
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def safe_json(text: str) -> str:
    """The JSON text with unsafe characters escaped, `\\u001b`. Its value stays the same."""
    return UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], text)
