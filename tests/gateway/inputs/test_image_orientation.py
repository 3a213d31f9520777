"""The orientation is read from EXIF and from nothing else; what is broken counts as none."""

from __future__ import annotations

import io
import struct

import pytest
from clipserve_gateway.inputs.image_orientation import SDK_ORIENTATION, orientation_of
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from testing.hostile.files import chunk

IMAGE = Image.new("RGB", (8, 8), "teal")


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    IMAGE.save(file, kind, **options)
    return file.getvalue()


def exif(value: int, *, tag: int = 274, kind: int = 3, order: str = "<", count: int = 1) -> bytes:
    """EXIF data with one tag."""
    number = struct.pack(order + ("H2x" if kind == 3 else "L"), value)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "LH", 8, 1)
    return head + struct.pack(order + "HHL", tag, kind, count) + number + bytes(4)


def jpeg(data: bytes) -> bytes:
    return saved("JPEG", exif=b"Exif\0\0" + data)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pillows_files_are_read(kind, value):
    made = Image.Exif()
    made[274] = value
    assert orientation_of(saved(kind, exif=made)) == value


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [3, 4])
def test_both_byte_orders_and_integer_types_are_read(order, kind):
    assert orientation_of(jpeg(exif(6, order=order, kind=kind))) == 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II",
        b"nothing",
        exif(0),
        exif(9),
        exif(6, tag=275),
        exif(6, kind=2),
        exif(6, count=2),
        exif(6)[:12],
        b"II*\0" + struct.pack("<LH", 2**32 - 1, 1),
        b"II*\0" + struct.pack("<LH", 8, 65_535) + bytes(100),
    ],
)
def test_what_is_broken_counts_as_upright(data):
    assert orientation_of(jpeg(data)) == 1


def directory(*entries: bytes) -> bytes:
    """EXIF data with these entries."""
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + b"".join(entries) + bytes(4)


def entry(tag: int, value: int, kind: int = 3) -> bytes:
    return struct.pack("<HHLL", tag, kind, 1, value)


@pytest.mark.parametrize("count", [4_095, 4_096, 20_000])
def test_a_tag_behind_thousands_of_others_is_read(count):
    data = directory(*(entry(1000 + i, 1) for i in range(count)), entry(274, 6))
    assert orientation_of(saved("PNG", exif=data)) == 6
    assert Image.open(io.BytesIO(saved("PNG", exif=data))).getexif()[274] == 6


@pytest.mark.parametrize(
    ("entries", "value"),
    [
        ((entry(274, 6), entry(274, 3)), 3),
        ((entry(274, 6), entry(274, 3, kind=99)), 6),
        ((entry(274, 6), entry(274, 3, kind=2)), 1),
    ],
)
def test_of_two_tags_the_one_counts_that_pillow_reads(entries, value):
    file = saved("PNG", exif=directory(*entries))
    read = Image.open(io.BytesIO(file)).getexif().get(274)
    assert orientation_of(file) == value == (read if isinstance(read, int) else 1)


@given(st.binary(max_size=300))
def test_no_exif_raises(data):
    assert orientation_of(jpeg(data)) in range(1, 9)


def test_the_first_exif_of_a_jpeg_counts_and_only_before_the_image():
    def segment(data: bytes) -> bytes:
        return b"\xff\xe1" + struct.pack(">H", len(data) + 8) + b"Exif\0\0" + data

    plain = saved("JPEG")
    xmp = b"\xff\xe1\0\x0chttp://ns."
    assert orientation_of(plain[:2] + xmp + segment(exif(6)) + segment(exif(3)) + plain[2:]) == 6
    assert orientation_of(plain[:-2] + segment(exif(6)) + plain[-2:]) == 1


def test_exif_after_the_pixels_of_a_png_is_read():
    plain = saved("PNG")
    assert orientation_of(plain[:-12] + chunk(b"eXIf", exif(8)) + plain[-12:]) == 8
    assert orientation_of(plain + chunk(b"eXIf", exif(8))) == 1, "after the end"


def test_exif_that_the_header_of_a_webp_does_not_announce_is_not_read():
    made = Image.Exif()
    made[274] = 6
    webp = bytearray(saved("WEBP", exif=made))
    webp[20] &= ~8
    assert orientation_of(bytes(webp)) == 1


def test_a_tiffs_own_orientation_is_left_to_its_decoder():
    assert orientation_of(saved("TIFF", tiffinfo={274: 6})) == 1
    assert orientation_of(saved("TIFF", tiffinfo={SDK_ORIENTATION: 6})) == 6


def test_other_formats_have_none():
    assert [orientation_of(saved(kind)) for kind in ("GIF", "BMP", "PPM")] == [1, 1, 1]
