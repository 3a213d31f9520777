"""Decodes text files: UTF-8, or UTF-16 and UTF-32 with a byte order mark. Does not guess other encodings."""

from __future__ import annotations

import codecs
import re

from clipserve.safe_text import quoted

MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32-LE"),
    (codecs.BOM_UTF32_BE, "UTF-32-BE"),
    (codecs.BOM_UTF16_LE, "UTF-16-LE"),
    (codecs.BOM_UTF16_BE, "UTF-16-BE"),
)
"""Longer marks first: the mark of UTF-32-LE begins with that of UTF-16-LE."""
LINE_END = re.compile(r"\r\n|\r|\n")


class NotText(ValueError):
    """Text that is not in a supported encoding; the message has the likely encoding and what to do."""


def encoding_of(content: bytes) -> tuple[str, int]:
    """The encoding by the byte order mark (UTF-8 without one), and the length of the mark."""
    for mark, name in MARKS:
        if content.startswith(mark):
            return name, len(mark)
    return "UTF-8", 0


def decoded(content: bytes) -> str:
    """The text. Raises NotText with the line and the likely encoding."""
    encoding, start = encoding_of(content)
    if encoding == "UTF-8" and b"\0" in content:
        raise NotText(f"{guess_encoding(content)}; save it as UTF-8")
    try:
        return str(content[start:], encoding)
    except UnicodeDecodeError as error:
        if encoding != "UTF-8":
            raise NotText(
                f"it begins like {encoding} but is not valid {encoding}; save it as UTF-8"
            ) from None
        line = len(LINE_END.findall(content[start : start + error.start].decode("utf-8"))) + 1
        raise NotText(
            f"line {line} is not valid UTF-8 (byte 0x{error.object[error.start]:02X}); the file may be in an "
            "older encoding, for example Windows-1252: save it as UTF-8"
        ) from None


def guess_encoding(content: bytes) -> str:
    """What bytes with NULs probably are."""
    even, odd = content[0::2].count(0), content[1::2].count(0)
    for name, mine, other in (("UTF-16-LE", odd, even), ("UTF-16-BE", even, odd)):
        if mine >= len(content) // 4 and not other:
            return f"it looks like {name} without a byte order mark"
    return "it has NUL bytes, so it is not UTF-8 text"


def utf8(text: str, what: str = "") -> str:
    """The text. Raises NotText if UTF-8 cannot encode it; `what` names it in the error."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise not_utf8(error, what) from None
    return text


def not_utf8(error: UnicodeEncodeError, what: str = "") -> NotText:
    """The error for a text that UTF-8 cannot encode."""
    character = error.object[error.start]
    number = ord(character)
    # Python decodes invalid bytes of file names to these characters.
    cause = f"byte 0x{number - 0xDC00:02X}" if 0xDC80 <= number <= 0xDCFF else f"{character!r} alone"
    message = f"{quoted(error.object)} is not valid UTF-8 ({cause}); write it in UTF-8"
    return NotText(f"{what}: {message}" if what else message)


def lines_in(text: str) -> list[str]:
    """The lines as editors number them: they end with LF, CR LF or CR. An empty last line does not count."""
    lines = LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]
