"""The cost of reading an image file grows at most linearly. Steps are counted instead of time.

A step is a byte that one of our walkers looks at, or a line of Python that runs, ours or Pillow's.
"""

from __future__ import annotations

import contextlib
import re
import re._parser as pattern_parser
import struct
import sys
import zlib
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from clipserve_gateway.errors import ImageError
from clipserve_gateway.inputs import image_decoders, image_jpeg
from clipserve_gateway.inputs.image_file import essential
from clipserve_gateway.inputs.image_orientation import orientation_of
from clipserve_gateway.inputs.preprocess import ImageLimits, decode, guarded, open_image
from clipserve_gateway.types import ImageRules, Preprocess
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from testing.hostile.files import (
    LONG,
    PNG_START,
    SHORT,
    bmp,
    canvas,
    chunk,
    gif,
    gif_frame,
    gray_tiff,
    header,
    riff,
    rows,
    saved,
    segment,
    segments,
)

RULES = ImageRules(orientation=True, background=(255, 255, 255))
LIMITS = ImageLimits(20 << 20, 64_000_000)
LENGTH = 60_000
"""Size of a file of repeated units."""
FREE_LINES = 60_000
"""Most lines of Python for any file: opening, and the limits on pieces."""
LINES_A_BYTE = 8
"""For each run of a BMP, which has two bytes, Pillow executes eight lines and two reads."""

JPEG, PROGRESSIVE = saved("JPEG"), saved("JPEG", progressive=True)
PIXELS = gif_frame(8, 8, b"\x84\x8f\xa9\xcb\xed\x0f\xa3\x9c\xb4\xda\x8b\xb3\xde\xbc\xfb\x0f\x86")
WEBP = saved("WEBP")
VP8 = (b"VP8 ", WEBP[20 : 20 + int.from_bytes(WEBP[16:20], "little")])


class Counted(bytes):
    """Bytes that count how many of them are read."""

    visited = 0

    def _count(self, number: int) -> None:
        Counted.visited += number

    def __getitem__(self, at: Any) -> Any:
        item = super().__getitem__(at)
        self._count(len(item) if isinstance(item, bytes) else 1)
        return item

    def find(self, what: Any, start: int = 0, end: int | None = None) -> int:
        end = len(self) if end is None else end
        position = super().find(what, start, end)
        self._count((end if position < 0 else position) - start)
        return position

    def count(self, *args: Any) -> int:
        self._count(len(self))
        return super().count(*args)


class CountedPattern:
    """A pattern of fixed width: a search visits each byte once for each byte of the pattern."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        low, self._width = pattern_parser.parse(pattern.pattern).getwidth()
        assert low == self._width, "a pattern with a repeat may look at a byte any number of times"

    def search(self, data: bytes, start: int, end: int) -> re.Match[bytes] | None:
        match = self._pattern.search(data, start, end)
        Counted.visited += self._width * ((match.end() if match else min(end, len(data))) - start)
        return match


def repeated(unit: bytes, before: bytes, after: bytes) -> bytes:
    return before + unit * (LENGTH // len(unit)) + after


JPEG_UNITS = st.one_of(
    st.sampled_from([b"\xff", b"\xff\0", b"\xff\1", b"\xff\xd0", b"\xff\xda", b"\0", b"\xff\xd9"]),
    st.builds(
        lambda kind, size, length: segment(kind, bytes(size), length=length),
        st.integers(0xC0, 0xFE),
        st.sampled_from([0, 1, 16, 64, 5000]),
        st.sampled_from([None, None, None, 0, 1, 2, 65535]),
    ),
)
PLACES = {
    "jpeg start": (JPEG_UNITS, JPEG[:2], JPEG[2:]),
    "jpeg end": (JPEG_UNITS, PROGRESSIVE[:-2], b"\xff\xda" * 101 + b"\xff\xd9"),
    "jpeg alone": (JPEG_UNITS, b"\xff\xd8", b""),
    "png start": (None, PNG_START + header(8, 8), rows() + chunk(b"IEND")),
    "png end": (None, PNG_START + header(8, 8) + rows(), chunk(b"IEND")),
    "png pixels": (None, PNG_START + header(8, 8) + rows()[:-4], rows() + chunk(b"IEND")),
}
PNG_UNITS = st.one_of(
    st.builds(
        lambda kind, size: chunk(kind, bytes(size)),
        st.sampled_from([b"IDAT", b"tEXt", b"PLTE", b"tRNS", b"aaAa", b"IHDR", b"fcTL", b"fdAT", b"eXIf"]),
        st.sampled_from([0, 1, 13, 26, 1000]),
    ),
    st.sampled_from([chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1_000_000)))]),
    st.binary(min_size=1, max_size=20),
)
GIF_UNITS = st.one_of(
    st.sampled_from([b"\0", b"\x01a", b"!", b"!\xf9\4\1\0\0\0\0", b"!\xfe\1a\0", b"!\xf9\0", PIXELS]),
    st.builds(lambda size: bytes([size]) + b"a" * size, st.integers(1, 255)),
)
WEBP_CHUNKS = st.sampled_from([(b"abcd", b""), (b"ICCP", b""), (b"ANMF", bytes(16)), VP8])
TAGS = [
    254,
    256,
    258,
    262,
    270,
    273,
    274,
    277,
    279,
    282,
    320,
    324,
    330,
    338,
    339,
    347,
    700,
    34665,
    34853,
    37500,
]


@st.composite
def jpegs(draw: st.DrawFn) -> bytes:
    units, before, after = PLACES[draw(st.sampled_from(["jpeg start", "jpeg end", "jpeg alone"]))]
    return repeated(draw(units), before, after)


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    _, before, after = PLACES[draw(st.sampled_from(["png start", "png end", "png pixels"]))]
    return repeated(draw(PNG_UNITS), before, after)


@st.composite
def gifs(draw: st.DrawFn) -> bytes:
    start = draw(st.sampled_from([b"", b"!\xfe", b"!\xff", b"!\xf9"]))
    return gif(8, 8, start + repeated(draw(GIF_UNITS), b"", b"\0"), PIXELS, b";")


@st.composite
def webps(draw: st.DrawFn) -> bytes:
    kind, data = draw(WEBP_CHUNKS)
    flags = draw(st.sampled_from([0, 2, 0x2E]))
    return riff(canvas(48, 40, flags), VP8, *[(kind, data)] * (LENGTH // (8 + len(data))))


@st.composite
def tiffs(draw: st.DrawFn) -> bytes:
    kind = draw(st.integers(1, 16))
    count = draw(st.sampled_from([1, 10, 10_000, 1_000_000]))
    changes = {draw(st.sampled_from(TAGS)): (kind, count, draw(st.sampled_from([8, 200, 1000])))}
    return gray_tiff(changes) + draw(st.sampled_from([b"\1\0\0\0", b"\xff", b"\0"])) * LENGTH


@st.composite
def others(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        unit = draw(st.sampled_from([b"\1\1\0\0", b"\xff\1", b"\0\0", b"\0\2\xff\xff", b"\0\3abc\0"]))
        width = draw(st.sampled_from([8, 4000, 65535]))
        pixels = {"data": bytes(8) + unit * (LENGTH // len(unit)), "offset": 62}
        return bmp(width, 900, bits=8, compression=1, colors=2, **pixels)
    unit = draw(st.sampled_from([b"#\n", b"#", b"1 ", b"\n", b"9" * 11]))
    mark = draw(st.sampled_from([b"P1", b"P2", b"P3", b"P6"]))
    return mark + draw(st.sampled_from([b"\n200 200\n255\n", b" "])) + unit * (LENGTH // len(unit))


class File:
    """A file whose repr in a failed test is short."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __repr__(self) -> str:
        return f"{self.content[:60]!r} … {self.content[-20:]!r} of {len(self.content)} bytes"


FILES = st.one_of(jpegs(), pngs(), gifs(), webps(), tiffs(), others()).map(File)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_jpeg, "MARKER", CountedPattern(image_jpeg.MARKER))
    monkeypatch.setattr(image_decoders, "RUN_STEPS", 5_000)


QUICK = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@settings(max_examples=200, **QUICK)
@given(file=FILES)
@example(file=File(b"\xff\xd8" + b"\xff" * 80_000))
@example(file=File(JPEG[:-2] + b"\xff" * 80_000 + b"\xff\xda" * 101))
def test_our_own_look_at_a_file_visits_each_byte_a_few_times(counted: None, file: File) -> None:
    Counted.visited = 0
    with contextlib.suppress(ImageError):
        essential(Counted(file.content))
        orientation_of(Counted(file.content))
    assert Counted.visited <= 6 * len(file.content)


class TooManySteps(Exception):
    """The file is too expensive to read."""


def lines(work: Callable[[], object], most: int) -> int:
    """Lines of Python that run while `work` does; TooManySteps beyond `most`."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "line"
        if count > most:
            raise TooManySteps(f"{count} lines, in {frame.f_code.co_qualname}")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except ImageError:
        pass
    finally:
        sys.settrace(before)
    return count


def look(file: bytes) -> None:
    """All steps that read a file."""
    opened = open_image(file, Preprocess(16, 16), RULES, limits=LIMITS, fast=True)
    guarded(lambda: decode(opened))


@settings(max_examples=60, **QUICK)
@given(file=FILES)
@example(file=File(b"\xff\xd8" + b"\xff" * 80_000))
@example(file=File(gray_tiff({273: (LONG, 200_000, 200)}) + bytes(800_000)))
@example(file=File(gray_tiff({282: (5, 100_000, 200)}) + bytes(800_000)))
@example(file=File(gray_tiff({339: (SHORT, 100_000, 200)}) + bytes(800_000)))
@example(file=File(PNG_START + header(8, 8) + rows() + chunk(b"iCCP", b"a\0\0") * 20_000))
@example(file=File(b"P3\n8 8\n255\n" + b"#\n" * 40_000 + b"1 " * 192))
def test_the_lines_of_python_that_a_file_takes_grow_no_faster_than_the_file(
    counted: None, file: File
) -> None:
    most = LINES_A_BYTE * len(file.content) + FREE_LINES
    assert lines(lambda: look(file.content), most) <= most


def test_lines_that_fill_up_a_run_length_coded_bmp_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_decoders, "RUN_STEPS", 50_000)
    rows_of_one_pixel = bytes(8) + b"\1\1\0\0" * 900
    file = bmp(65_535, 900, bits=8, compression=1, colors=2, data=rows_of_one_pixel, offset=62)
    assert lines(lambda: look(file), 300_000) > 50_000


def test_a_counted_walker_that_goes_over_the_file_again_and_again_is_seen() -> None:
    Counted.visited = 0
    data = Counted(bytes(1000))
    for start in range(0, 1000, 10):
        data.find(b"x", start)
    assert Counted.visited > 40_000
    with pytest.raises(AssertionError, match="repeat"):
        CountedPattern(re.compile(rb"\xff+[^\x00\x01\xd0-\xd8\xff]"))
    with pytest.raises(TooManySteps):
        lines(lambda: sum(1 for _ in range(1000)), 100)


def test_segments_of_the_sound_jpeg_stay_as_they_were() -> None:
    assert b"".join(segments(essential(JPEG))) == JPEG
    assert struct.unpack(">H", essential(PNG_START + header(8, 8) + rows())[:2]) == (0x8950,)
