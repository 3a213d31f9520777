"""Reads the bytes of a pickle: sizes, lines, texts and numbers."""

from __future__ import annotations

import codecs
import struct

MAX_NUMBER_BYTES = 64
MAX_LINE = 64 * 1024
"""Maximum bytes of a name or number in a line."""


class PickleError(ValueError):
    """An invalid pickle."""


class Tape:
    """The bytes of a pickle and the read position."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if not 0 <= count <= len(self._content) - self._at:
            raise PickleError("it ends too early")
        self._at += count
        return self._content[self._at - count : self._at]

    def line(self, most: int = MAX_LINE) -> bytes:
        """The bytes up to the end of the line."""
        end = self._content.find(b"\n", self._at, self._at + most + 1)
        if end < 0:
            raise PickleError(f"a line has no end within {most} bytes")
        line = self._content[self._at : end]
        self._at = end + 1
        return line

    def size(self, form: str) -> int:
        """A number of fixed size; `form` is a format of `struct`."""
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def double(self) -> float:
        return float(struct.unpack(">d", self.take(8))[0])

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise PickleError("it has text that is not UTF-8") from None

    def number(self, size: int) -> int:
        if not 0 <= size <= MAX_NUMBER_BYTES:
            raise PickleError(f"it has a number of {size} bytes")
        return int.from_bytes(self.take(size), "little", signed=True)

    def decimal(self) -> int:
        """A whole number or boolean in a line."""
        line = self.line(3 * MAX_NUMBER_BYTES)
        truths = {b"00": False, b"01": True}
        try:
            return truths[line] if line in truths else int(line.rstrip(b"L"))
        except ValueError:
            raise PickleError("it has an invalid number") from None

    def decimal_float(self) -> float:
        try:
            return float(self.line(MAX_NUMBER_BYTES))
        except ValueError:
            raise PickleError("it has an invalid number") from None

    def quoted(self) -> bytes:
        """Quoted bytes of Python 2 in a line."""
        line = self.line(len(self._content))
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
            raise PickleError("it has text without quotes")
        try:
            return codecs.escape_decode(line[1:-1])[0]
        except ValueError:
            raise PickleError("it has text with a bad escape") from None

    def escaped_text(self) -> str:
        try:
            return str(self.line(len(self._content)), "raw-unicode-escape")
        except UnicodeDecodeError:
            raise PickleError("it has text with a bad escape") from None

    def index(self) -> int:
        line = self.line(20)
        if not line.isdigit():
            raise PickleError("it has an invalid index of the memo")
        return int(line)
