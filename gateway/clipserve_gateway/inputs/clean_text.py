"""Text as CLIP's tokenizer wants it: mended, with single spaces, in lower case; in bounded time.

Mending (ftfy) works line by line, at up to 20 µs a line and 5 µs a character. Only as many lines are mended
as can matter, so a text of a megabyte costs little more than its beginning.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator

import ftfy
from ftfy.fixes import unescape_html

LINE = 20_000
"""Characters. Longer lines are cut at a space and mended part by part, as ftfy itself does at a million."""

LINES = 10_000
"""Lines of a text that are mended at most; only lines of control characters can bring a text so far."""

LONG_NUMBER = re.compile(r"&#([0-9]{20,})")
"""The beginning of an entity whose number is beyond every character, but for its zeros."""

AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0{0,20}38|#[xX]0{0,20}26);)+")
"""An ampersand written as an entity of an entity, however often: ftfy takes one pass for each time."""

AUTO = ftfy.TextFixerConfig(explain=False)
NO_ENTITIES = AUTO._replace(unescape_html=False)
ENTITY = re.compile(r"&(?:[#\w]+;)+|&[#\w]+")
"""An entity, or one of one; more than is one."""
FILLERS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
)
"""Letters and marks that are not to be seen: fillers, variation selectors, the empty braille pattern."""
INVISIBLE = ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp")
SPACES = str.maketrans("\t\n\r", "   ")


def clean(text: str, enough: int) -> tuple[str, bool]:
    """The cleaned text, and whether all of it was read; reading ends once `enough` characters are clean."""
    flat = text.translate(SPACES)
    # Printable ASCII without entities is what ftfy leaves alone, at a fraction of its cost.
    if flat.isascii() and flat.isprintable() and "&" not in flat:
        return " ".join(flat.split()).lower(), True
    words: list[str] = []
    length, config, whole = 0, AUTO, True
    for number, line in enumerate(lines(text)):
        if length >= enough or number >= LINES:
            whole = False
            break
        if "<" in line:
            # As ftfy does: from the first tag on, a text is taken for HTML source.
            config = NO_ENTITIES
        if config is AUTO:
            line = AMPERSANDS.sub("&amp;", line)
        mended = unescaped(unescaped(ftfy.fix_text_segment(line, config))).split()
        words += mended
        length += sum(map(len, mended))
    return " ".join(words).lower(), whole


def unescaped(text: str) -> str:
    """The text without HTML entities. Python alone gives up on numbers of some thousand digits."""
    return html.unescape(LONG_NUMBER.sub(lambda found: f"&#{found[1].lstrip('0')[:8] or 0}", text))


def is_blank(text: str) -> bool:
    """Whether nothing is to be seen of the text once it is clean: `&nbsp;`, a zero-width space."""
    # Only few texts have nothing but entities, so only these are read.
    return not is_visible(ENTITY.sub("", text)) and not is_visible(opened(text))


def is_visible(text: str) -> bool:
    """Whether any of the characters is to be seen."""
    return any(
        character not in FILLERS and unicodedata.category(character) not in INVISIBLE for character in text
    )


def opened(text: str) -> str:
    """The text without entities, its characters in plain forms: with the braces that the model sees."""
    if text.isascii() and "&" not in text:
        return text
    found = unescape_html(AMPERSANDS.sub("&amp;", text))
    return unicodedata.normalize("NFKC", unescaped(unescaped(found)))


def lines(text: str) -> Iterator[str]:
    """The lines of a text, without those that are blank, in parts of at most LINE characters."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        if end - start > LINE:
            end = text.rfind(" ", start, start + LINE) + 1 or start + LINE
        line = text[start:end]
        start = end
        # Other whitespace may be half of a mangled character.
        if not (line.isascii() and line.isspace()):
            yield line
