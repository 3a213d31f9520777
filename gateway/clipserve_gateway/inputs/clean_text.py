"""Cleans texts by the rules of open_clip's tokenizers, in bounded time: repaired, with single spaces.

ftfy repairs texts line by line and takes up to 20 µs a line and 5 µs a character. Only the lines that fill
the context are repaired, so a text of a megabyte takes little longer than its beginning.
"""

from __future__ import annotations

import html
import re
import string
import unicodedata
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import ftfy
from ftfy.fixes import unescape_html

LINE = 20_000
"""Characters. Longer lines are cut at a space and repaired part by part, as ftfy does above a million."""

LINES = 10_000
"""Most lines of a text that are repaired. Only texts with lines of control characters have more."""

LONG_NUMBER = re.compile(r"&#([0-9]{20,})")
"""The beginning of an entity whose number, unless it begins with zeros, is beyond all characters."""

AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0{0,20}38|#[xX]0{0,20}26);)+")
"""An ampersand that was escaped several times: ftfy takes one pass for each time."""

AUTO = ftfy.TextFixerConfig(explain=False)
NO_ENTITIES = AUTO._replace(unescape_html=False)
ENTITY = re.compile(r"&(?:[#\w]+;)+|&[#\w]+")
"""An entity, also an escaped one. Matches some texts that are not entities."""
FILLERS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
)
"""Invisible letters and marks: fillers, variation selectors, the empty braille pattern."""
INVISIBLE = ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp")
SPACES = str.maketrans("\t\n\r", "   ")
WITHOUT_PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))

CleanRule: TypeAlias = Literal["lower", "whitespace", "canonicalize", "none"]
"""open_clip's names: `whitespace` repairs a text and leaves single spaces, `lower` also changes it to lower
case, `canonicalize` also removes ASCII punctuation. `none` changes nothing."""
LAST_STEP: dict[CleanRule, Callable[[str], str]] = {
    "whitespace": lambda text: text,
    "lower": str.lower,
    "canonicalize": lambda text: text.translate(WITHOUT_PUNCTUATION).lower(),
}
"""What a rule does to a repaired text."""


def clean(text: str, enough: int, rule: CleanRule = "lower") -> tuple[str, bool]:
    """The cleaned text, and whether all of it was read.

    Reading ends after `enough` repaired characters; `canonicalize` may leave fewer of them.
    """
    if rule == "none":
        return text[:enough], len(text) <= enough
    last_step = LAST_STEP[rule]
    flat = text.translate(SPACES)
    # ftfy does not change printable ASCII without entities, so it is skipped.
    if flat.isascii() and flat.isprintable() and "&" not in flat:
        return " ".join(last_step(flat).split()), True
    parts: list[str] = []
    length, config, whole = 0, AUTO, True
    for number, line in enumerate(lines(text)):
        if length >= enough or number >= LINES:
            whole = False
            break
        if "<" in line:
            # As in ftfy, a text counts as HTML source from the first tag on.
            config = NO_ENTITIES
        if config is AUTO:
            line = AMPERSANDS.sub("&amp;", line)
        mended = unescaped(unescaped(ftfy.fix_text_segment(line, config)))
        parts.append(mended)
        length += sum(map(len, mended.split()))
    return " ".join(last_step("".join(parts)).split()), whole


def unescaped(text: str) -> str:
    """The text with its HTML entities replaced. Long numbers, which Python may refuse, are shortened."""
    return html.unescape(LONG_NUMBER.sub(lambda match: f"&#{match[1].lstrip('0')[:8] or 0}", text))


def is_blank(text: str) -> bool:
    """Whether the cleaned text shows nothing, for example `&nbsp;` or a zero-width space."""
    # Few texts have only entities, so these are replaced only if nothing else is visible.
    return not is_visible(ENTITY.sub("", text)) and not is_visible(without_entities(text))


def is_visible(text: str) -> bool:
    """Whether any character is visible."""
    return any(
        character not in FILLERS and unicodedata.category(character) not in INVISIBLE for character in text
    )


def without_entities(text: str) -> str:
    """The text with its entities replaced, in compatibility form (NFKC): with the braces the model sees."""
    if text.isascii() and "&" not in text:
        return text
    return unicodedata.normalize("NFKC", unescaped(unescaped(unescape_html(AMPERSANDS.sub("&amp;", text)))))


def lines(text: str) -> Iterator[str]:
    """The lines of a text, without blank ones, in parts of at most LINE characters."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        if end - start > LINE:
            end = text.rfind(" ", start, start + LINE) + 1 or start + LINE
        line = text[start:end]
        start = end
        # Whitespace beyond ASCII may be half of a wrongly decoded character.
        if not (line.isascii() and line.isspace()):
            yield line
