"""Text of others made safe to show: names, ids, labels, and the words of other programs.

What a terminal or a reader would take for something else is escaped: control characters, those that turn the
direction of writing around, line separators, invisible ones, and halves of surrogate pairs.
"""

from __future__ import annotations

import json
import re

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Not line feeds and tabs."""


def safe_lines(text: str) -> str:
    """The text with unsafe characters as Python writes them, `\\x1b`; line feeds and tabs stay."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def safe_json(text: str) -> str:
    """The JSON with unsafe characters as JSON writes them, `\\u001b`: it means the same."""
    return UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)
