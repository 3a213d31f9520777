"""A Pillow image that the SDK sends has the pixels of the file that it came from, in every mode."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import clipserve
import numpy as np
import numpy.typing as npt
import pytest
from clipserve.inputs.image_like import ImageLike
from clipserve.messages.responses import read_fields
from clipserve.tools.sheets.thumbnail import ModelView, NotShown, thumbnail
from clipserve.wire.images import write_image
from clipserve_gateway.convert.common import read_image, write_image_rules
from clipserve_gateway.errors import ImageFormatUnsupported
from clipserve_gateway.inputs.preprocess import ImageLimits, load_image, load_raw
from clipserve_gateway.types import AS_OPEN_CLIP, EncodedImage, ImageRules, Preprocess
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

# The server ignores Pillow's warnings about odd files.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

LIMITS = ImageLimits(1 << 24, 1 << 24)
PHOTO = (
    Image.open(Path(__file__).parents[2] / "demo" / "photos" / "cat.jpg").convert("RGB").resize((150, 100))
)
GRAY = np.asarray(PHOTO.convert("L")).astype(np.uint16) * 257
SIZE = 32
INPUT = Preprocess(SIZE, SIZE)
RULES = [ImageRules(turn, color) for turn in (False, True) for color in (None, (255, 255, 255), (9, 80, 200))]

Pixels = npt.NDArray[np.uint8]


def with_alpha() -> Image.Image:
    image = PHOTO.copy()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def lab() -> Image.Image:
    srgb, target = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    made = ImageCms.profileToProfile(PHOTO, srgb, target, outputMode="LAB")
    assert made is not None
    return made


def sixteen(mode: str, values: npt.NDArray[np.uint16] = GRAY) -> Image.Image:
    order = ">u2" if mode == "I;16B" else "<u2"
    return Image.frombytes(mode, values.shape[::-1], values.astype(order).tobytes())


def twelve_bit_tiff() -> bytes:
    """A TIFF of 12 bits a sample, two samples in three bytes."""
    values = (GRAY >> 4).astype(int)
    first, second = values[:, 0::2], values[:, 1::2]
    data = (
        np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()
    )
    height, width = values.shape
    tags = ((256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, height))
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in (*tags, (279, len(data))))
    return struct.pack("<2sHL", b"II", 42, 8 + len(data)) + data + struct.pack("<H", 9) + entries + bytes(4)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def of_file(content: bytes, rules: ImageRules = AS_OPEN_CLIP) -> Pixels:
    return load_image(content, INPUT, rules, limits=LIMITS, fast=False)


def of_sdk(image: ImageLike, rules: ImageRules = AS_OPEN_CLIP) -> Pixels:
    received = read_image(write_image(image))
    if isinstance(received, EncodedImage):
        return of_file(received.content, rules)
    return load_raw(received, INPUT, rules, limits=LIMITS, fast=False)


FILES = {
    "1": lambda: saved(PHOTO.convert("1"), "PNG"),
    "L": lambda: saved(PHOTO.convert("L"), "JPEG"),
    "LA": lambda: saved(with_alpha().convert("LA"), "PNG"),
    "LA in a TIFF": lambda: saved(with_alpha().convert("LA"), "TIFF"),
    "P": lambda: saved(PHOTO.quantize(200), "PNG", transparency=3),
    "P in a GIF": lambda: saved(PHOTO.quantize(64), "GIF"),
    "PA": lambda: saved(PHOTO.quantize(200).convert("PA"), "TIFF"),
    "RGB": lambda: saved(PHOTO, "PNG"),
    "RGBA": lambda: saved(with_alpha(), "WEBP", lossless=True),
    "RGBX": lambda: saved(PHOTO.convert("RGBX"), "TIFF"),
    "CMYK": lambda: saved(PHOTO.convert("CMYK"), "JPEG"),
    "CMYK, turned": lambda: saved(PHOTO.convert("CMYK"), "TIFF", tiffinfo={274: 6}),
    "LAB": lambda: saved(lab(), "TIFF"),
    "I;16": lambda: saved(sixteen("I;16"), "PNG"),
    "I;16, turned": lambda: saved(sixteen("I;16"), "TIFF", tiffinfo={274: 6}),
    "I;16 of 12 bits": twelve_bit_tiff,
    "I;16B": lambda: saved(sixteen("I;16B"), "TIFF"),
    "I": lambda: b"P5 150 100 65535\n" + GRAY.astype(">u2").tobytes(),
    "I of 12 bits": lambda: b"P5 150 100 4095\n" + (GRAY >> 4).astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", FILES)
def test_an_opened_image_is_its_file(name: str) -> None:
    content = FILES[name]()
    image = Image.open(io.BytesIO(content))
    assert image.mode == name.partition(" ")[0].rstrip(",") or name == "RGBX"
    np.testing.assert_array_equal(of_sdk(image), of_file(content))


def turned() -> Any:
    """EXIF data with an orientation."""
    exif = Image.Exif()
    exif[274] = 6
    return exif


MARKED = {
    **{f"{mode} in a PNG": (mode, "PNG", {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    "P, several opacities": ("P", "PNG", {"transparency": bytes(range(0, 200, 2))}),
    "P, one color clear": ("P", "PNG", {"transparency": 3}),
    "1, white clear": ("1", "PNG", {"transparency": 255}),
    "L, one gray clear": ("L", "PNG", {"transparency": int(GRAY[50, 70] >> 8)}),
    "RGB, one color clear": ("RGB", "PNG", {"transparency": PHOTO.getpixel((70, 50))}),
    "I;16, one gray clear": ("I;16", "PNG", {"transparency": int(GRAY[50, 70])}),
    "RGB in a JPEG": ("RGB", "JPEG", {}),
    "L in a JPEG": ("L", "JPEG", {}),
    "CMYK in a JPEG": ("CMYK", "JPEG", {}),
    "RGBA in a WebP": ("RGBA", "WEBP", {"lossless": True}),
}
"""Files of each mode with an EXIF orientation, and some with a transparent color."""


def marked(name: str) -> bytes:
    mode, kind, options = MARKED[name]
    image = {
        "LA": lambda: with_alpha().convert("LA"),
        "RGBA": with_alpha,
        "P": lambda: PHOTO.quantize(200),
        "I;16": lambda: sixteen("I;16"),
    }.get(mode, lambda: PHOTO.convert(mode))()
    return saved(image, kind, exif=turned(), **options)


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("name", [*FILES, *MARKED])
def test_an_opened_image_is_its_file_under_all_rules(name: str, rules: ImageRules) -> None:
    content = marked(name) if name in MARKED else FILES[name]()
    image = Image.open(io.BytesIO(content))
    np.testing.assert_array_equal(of_sdk(image, rules), of_file(content, rules))


@pytest.mark.parametrize("name", MARKED)
def test_the_rules_matter_for_these_files(name: str) -> None:
    """Otherwise the test above shows nothing."""
    plain, turned, white = (of_file(marked(name), RULES[number]) for number in (0, 3, 1))
    assert np.abs(plain.astype(int) - turned).mean() > 5
    assert (np.abs(plain.astype(int) - white).max() > 10) == ("clear" in name or "A" in name or "sev" in name)


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("name", [*FILES, *MARKED])
def test_sheets_show_what_the_model_sees(name: str, rules: ImageRules) -> None:
    content = marked(name) if name in MARKED else FILES[name]()
    told = read_fields(clipserve.ImageRules, write_image_rules(rules))
    upright = "turned" in name or (name in MARKED and rules.orientation)
    shown = thumbnail(content, *((SIZE, 1000) if upright else (1000, SIZE)), ModelView(told))
    assert not isinstance(shown, NotShown)
    left, top = (shown.width - SIZE) // 2, (shown.height - SIZE) // 2
    seen = np.asarray(shown.crop((left, top, left + SIZE, top + SIZE))).astype(int)
    expected = of_file(content, rules)
    if Image.open(io.BytesIO(content)).mode not in ("1", "P", "PA"):  # those are sampled, at other points
        assert np.abs(seen - expected).mean() < 4
    assert np.abs(seen.mean((0, 1)) - expected.mean((0, 1))).max() < 15


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("I")])
def test_gray_of_16_bits_looks_like_gray_of_8(name: str) -> None:
    eight = of_file(saved(PHOTO.convert("L"), "PNG", icc_profile=None))
    found = of_file(FILES[name]())
    if name.endswith("turned"):
        eight = np.rot90(eight, -1)
    assert np.abs(found.astype(int) - eight).mean() < 1


@given(
    st.sampled_from(["I;16", "I;16L", "I;16B", "I;16N"]),
    st.lists(st.integers(0, 65535), min_size=12, max_size=12),
)
@settings(max_examples=40, deadline=None)
def test_byte_orders_of_16_bits_change_nothing(mode: str, values: list[int]) -> None:
    array = np.array(values, np.uint16).reshape(3, 4)
    np.testing.assert_array_equal(of_sdk(sixteen(mode, array)), of_file(saved(sixteen("I;16", array), "PNG")))


@pytest.mark.parametrize(
    ("mode", "same"),
    [
        ("La", lambda: with_alpha().convert("LA")),
        ("RGBa", with_alpha),
        ("PA", lambda: PHOTO.quantize(200)),
        ("RGBX", lambda: PHOTO),
        ("HSV", lambda: PHOTO),
        ("YCbCr", lambda: PHOTO),
    ],
)
def test_modes_that_no_file_has_are_those_they_stand_for(mode: str, same: Any) -> None:
    difference = np.abs(of_sdk(same().convert(mode)).astype(int) - of_sdk(same()))
    assert difference.mean() < 2


@pytest.mark.parametrize("kind", [np.int32, np.float32])
@pytest.mark.parametrize("scale", [1, 1 / 257, 4, -1])
def test_pixels_without_an_agreed_range_are_refused_as_file_and_as_image(kind: type, scale: float) -> None:
    image = Image.fromarray((GRAY.astype(float) * scale).astype(kind))
    with pytest.raises(ValueError, match="no defined range; scale them to 0–255"):
        write_image(image)
    with pytest.raises(ImageFormatUnsupported, match="no agreed range"):
        of_file(saved(image, "TIFF"))
    with pytest.raises(ValueError, match="no defined range"):
        write_image(Image.open(io.BytesIO(saved(image, "TIFF"))))


def test_an_image_of_no_pixels_is_refused() -> None:
    for mode in ("RGB", "L", "CMYK"):
        with pytest.raises(ValueError, match="at least one pixel"):
            write_image(Image.new(mode, (0, 5)))
