"""Files are checked before a decoder reads them, and JPEGs lose their metadata."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clipserve_gateway.errors import ImageFormatUnsupported, ImageUnreadable
from clipserve_gateway.inputs import image_file, image_jpeg
from clipserve_gateway.inputs.image_file import BoundedFile, open_file
from clipserve_gateway.inputs.image_jpeg import scans, without_metadata
from clipserve_gateway.inputs.image_tiff import essential_tiff
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from testing.hostile.files import LONG, SHORT, gray_tiff, saved
from testing.hostile.images_tiff import big, signed, twice

PHOTO = (Path(__file__).parents[3] / "demo" / "photos" / "cat.jpg").read_bytes()


def jpeg(**options: object) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(PHOTO)).resize((64, 48)).save(file, "JPEG", **options)
    return file.getvalue()


def test_scans_are_counted_to_the_end_of_the_picture() -> None:
    progressive = jpeg(progressive=True)
    assert scans(jpeg()) == 1
    assert scans(progressive) == progressive.count(b"\xff\xda") > 5
    assert scans(progressive + b"\xff\xda" * 500) == scans(progressive)


def test_a_video_behind_the_picture_does_not_count() -> None:
    content = jpeg() + b"\xff\xda\x12\x34" * 500
    assert open_file(content).getvalue().endswith(b"\x12\x34")


def test_too_many_scans_are_refused() -> None:
    progressive = jpeg(progressive=True)
    last = progressive[progressive.rfind(b"\xff\xda") : -2]
    few = progressive[:-2] + last * 20 + b"\xff\xd9"
    assert open_file(few).getvalue() == few
    with pytest.raises(ImageUnreadable, match="more than 100 scans"):
        open_file(progressive[:-2] + last * 200 + b"\xff\xd9")


def test_metadata_is_left_out_and_the_picture_stays() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    full = jpeg(exif=exif, icc_profile=profile, comment=b"a remark", xmp=b"<x/>", progressive=True)
    bare = without_metadata(full)
    assert len(bare) < len(full) - 500
    assert b"secret" not in bare
    assert b"remark" not in bare
    np.testing.assert_array_equal(Image.open(io.BytesIO(bare)), Image.open(io.BytesIO(full)))
    assert without_metadata(bare) == bare


JPEG = jpeg()
STARTS = [i for i in range(2, JPEG.index(b"\xff\xda") + 1) if JPEG[i] == 0xFF and JPEG[i + 1] > 0xBF]


@given(
    st.sampled_from([*range(0xE0, 0xF0), 0xFE]),
    st.sampled_from([0, 1]),
    st.one_of(st.binary(max_size=40), st.sampled_from([b"a", b"\0", b"\xff", b"\xff\0", b"\xff\xe1\0\x10"])),
    st.sampled_from([1, 3, 1_500]),
    st.sampled_from(STARTS),
)
@example(0xE1, 0, b"<x:xmpmeta/>", 2_000, 2)
@example(0xE2, 1, b"ICC_PROFILE\0", 2_000, STARTS[-1])
@settings(max_examples=60, deadline=None)
def test_a_segment_of_impossible_length_is_read_as_pillow_reads_it(
    kind: int, length: int, data: bytes, times: int, at: int
) -> None:
    segment = bytes([0xFF, kind, 0, length]) + (data * times)[:60_000]
    content = JPEG[:at] + segment + JPEG[at:]
    try:
        expected = np.asarray(Image.open(io.BytesIO(content)))
    except (OSError, SyntaxError):
        return
    if segment.count(b"\xff\xe1") < image_jpeg.MAX_PIECES // 2:
        np.testing.assert_array_equal(Image.open(open_file(content)), expected)


def test_bytes_between_segments_are_bounded() -> None:
    for count, passes in ((image_jpeg.MAX_FILL_BYTES, True), (image_jpeg.MAX_FILL_BYTES + 1, False)):
        content = JPEG[:2] + b"\xff" * count + JPEG[2:]
        with contextlib.nullcontext() if passes else pytest.raises(ImageUnreadable, match="between its"):
            assert open_file(content).getvalue() == JPEG


def test_what_says_how_colors_are_coded_stays() -> None:
    file = io.BytesIO()
    Image.open(io.BytesIO(PHOTO)).convert("CMYK").save(file, "JPEG")
    assert b"Adobe" in without_metadata(file.getvalue())
    assert b"JFIF" in without_metadata(jpeg())


@pytest.mark.parametrize("end", [2, 3, 4, 10, 25, 100])
def test_broken_headers_pass_for_the_decoder_to_judge(end: int) -> None:
    assert isinstance(without_metadata(jpeg()[:end]), bytes)


def test_no_bytes_and_known_strangers_are_refused() -> None:
    with pytest.raises(ImageUnreadable, match="no bytes"):
        open_file(b"")
    with pytest.raises(ImageFormatUnsupported, match="HEIC files are not accepted"):
        open_file(b"\0\0\0\x20ftypheic\0\0")


def test_a_file_can_be_read_only_so_often() -> None:
    file = BoundedFile(bytes(100_000))
    for _ in range(image_file.READS_TO_OPEN):
        file.read(1)
    with pytest.raises(ImageUnreadable, match="too many segments"):
        file.read(1)


def test_a_file_can_be_read_only_a_few_times_over() -> None:
    file = BoundedFile(bytes(10_000_000))
    for _ in range(4):
        file.seek(0)
        assert len(file.read()) == 10_000_000
    file.seek(0)
    with pytest.raises(ImageUnreadable, match="too many segments"):
        file.read()


@pytest.mark.parametrize("make", [twice, lambda: twice(">"), big, signed], ids=["II", "MM", "big", "type"])
def test_a_tiff_that_can_be_read_in_two_ways_is_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(ImageUnreadable, match=r"twice|wrong type"):
        essential_tiff(make())


def test_sound_tiffs_pass() -> None:
    for compression in (None, "tiff_lzw", "jpeg"):
        essential_tiff(saved("TIFF", compression=compression))
    essential_tiff(saved("TIFF", big_tiff=True))
    essential_tiff(gray_tiff({50_000: (99, 1, 1), 256: (SHORT, 1, 8), 257: (LONG, 1, 8)}))


def test_a_directory_of_a_million_tags_is_not_read() -> None:
    content = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1_000_000) + bytes(20) * 1_000_000
    with pytest.raises(ImageUnreadable, match="too many segments"):
        essential_tiff(content)


def test_a_tiff_keeps_its_picture_and_loses_what_is_expensive_to_read() -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a secret place", 6
    file = io.BytesIO()
    Image.open(io.BytesIO(PHOTO)).save(file, "TIFF", exif=exif, dpi=(300, 300), compression="tiff_lzw")
    bare = essential_tiff(file.getvalue())
    full, less = (Image.open(io.BytesIO(content)) for content in (file.getvalue(), bare))
    assert (less.tag_v2.get(0x0112), less.tag_v2.get(0x010E), less.info.get("dpi")) == (6, None, (1, 1))
    np.testing.assert_array_equal(full, less)
    assert essential_tiff(bare) == bare
