"""Fonts for text in pictures: Pillow's own font, and the system's fonts for letters that it lacks."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from PIL import ImageFont

    Font: TypeAlias = ImageFont.ImageFont | ImageFont.FreeTypeFont

KNOWN_FILES = (
    "NotoSansCJK-Regular.ttc",
    "DejaVuSans.ttf",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "arial.ttf",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
)
"""Fonts of macOS, Windows and Linux with more than Latin letters; fontconfig lists others."""
SUFFIXES = (".ttf", ".otf", ".ttc")
LIST_SECONDS = 10
INVISIBLE = ("Zs", "Mn", "Me", "Mc", "Cf")
"""Unicode categories that are drawn with the font of the letter before: spaces, marks, joiners."""
UNKNOWN = "?"
"""Drawn in place of a letter that no font has."""
UNKNOWN_NOTE = (
    f"{UNKNOWN} replaces letters that no font on this machine has: "
    "install one (Debian: fonts-noto-cjk), or write the sheet as .html"
)
NO_LETTER = "\U0010ffff"
"""A code point that no font has."""
TEST_SIZE = 16


@dataclass(frozen=True)
class FontFile:
    """A font of the system."""

    path: str
    index: int = 0
    """Index of the font in a file with several fonts."""
    letters: tuple[range, ...] = ()
    """Code points that fontconfig lists for it; empty if unknown."""

    def may_have(self, letter: str) -> bool:
        return not self.letters or any(ord(letter) in some for some in self.letters)


@functools.cache
def plain_font(size: int) -> Font:
    """Pillow's own font, which has letters without accents."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


@functools.cache
def system_fonts() -> tuple[FontFile, ...]:
    """The system's fonts, the well-known ones first."""
    return (*map(FontFile, KNOWN_FILES), *listed_fonts())


def listed_fonts() -> Iterator[FontFile]:
    """The fonts that fontconfig lists; none if it is not installed."""
    program = shutil.which("fc-list")
    if program is None:
        return
    command = [program, "--format", "%{file}|%{index}|%{charset}\n"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, timeout=LIST_SECONDS, check=True)
        for line in done.stdout.decode(errors="surrogateescape").splitlines():
            path, index, letters = [*line.rsplit("|", 2), "", ""][:3]
            if path.endswith(SUFFIXES):
                yield FontFile(path, int(index or 0) & 0xFFFF, read_ranges(letters))


def read_ranges(text: str) -> tuple[range, ...]:
    """The code points of a list like `20-7e a9`."""
    ends = (part.partition("-") for part in text.split())
    return tuple(range(int(low, 16), int(high or low, 16) + 1) for low, _, high in ends)


@functools.cache
def loaded(file: FontFile, size: int) -> Font | None:
    """The font of the file; None if the file does not exist or is not scalable."""
    from PIL import ImageFont

    with contextlib.suppress(OSError, ValueError):
        return ImageFont.truetype(file.path, size, index=file.index)
    return None


@functools.cache
def file_for(letter: str) -> FontFile | None:
    """The first font of the system that has the letter; None if there is none."""
    for file in system_fonts():
        if file.may_have(letter):
            font = loaded(file, TEST_SIZE)
            if font is not None and draws(font, letter):
                return file
    return None


@functools.cache
def plain_has(letter: str) -> bool:
    return draws(plain_font(TEST_SIZE), letter)


def draws(font: Font, letter: str) -> bool:
    """Whether the font has the letter: it draws it differently from a missing letter."""
    drawn, missing = font.getmask(letter), font.getmask(NO_LETTER)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


def is_known(letter: str) -> bool:
    return unicodedata.category(letter) in INVISIBLE or plain_has(letter) or file_for(letter) is not None


def has_unknown(text: str) -> bool:
    return not all(map(is_known, set(text)))


def runs(text: str, size: int) -> list[tuple[Font, str]]:
    """The text in pieces of one font each. Letters that no font has become UNKNOWN."""
    if text.isascii():
        return [(plain_font(size), text)]
    pieces: list[tuple[Font, str]] = []
    for letter in text:
        known = is_known(letter)
        if pieces and unicodedata.category(letter) in INVISIBLE:
            font = pieces[-1][0]
        else:
            file = None if not known or plain_has(letter) else file_for(letter)
            font = (file and loaded(file, size)) or plain_font(size)
        drawn = letter if known else UNKNOWN
        if pieces and pieces[-1][0] is font:
            pieces[-1] = (font, pieces[-1][1] + drawn)
        else:
            pieces.append((font, drawn))
    return pieces


def width_of(text: str, size: int) -> float:
    return sum(font.getlength(piece) for font, piece in runs(text, size))
