"""Orientation and transparency, as people see them; without rules, as open_clip takes them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from clipserve_gateway.inputs import image_rules
from clipserve_gateway.inputs.image_rules import TURNS, Steps
from clipserve_gateway.inputs.preprocess import ImageLimits, load_image, load_raw, open_image, to_png
from clipserve_gateway.types import AS_OPEN_CLIP, ImageRules, Preprocess, RawImage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from testing.hostile.files import chunk

# The server ignores Pillow's warnings about odd files.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

LIMITS = ImageLimits(20 << 20, 64_000_000)
UPRIGHT, WHITE = ImageRules(orientation=True), ImageRules(background=(255, 255, 255))
BLUE = (10, 60, 200)
SHAPES = [
    Preprocess(32, 32),
    Preprocess(24, 40, "longest", "bilinear", 99),
    Preprocess(40, 24, "squash"),
    Preprocess(24, 32),
]

Array = npt.NDArray[np.uint8]


def scene(width: int, height: int) -> Image.Image:
    """A picture that looks different from each side."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).normal(0, 8, (height, width))
    parts = (255 * x / width + noise, 255 * y / height - noise, 127 + 90 * np.sin(x * 9 / width))
    return Image.fromarray(np.stack(parts, 2).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", orientation: int = 1, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    image.save(file, kind, **options, **({} if orientation == 1 else {"exif": exif}))
    return file.getvalue()


def load(
    content: bytes, rules: ImageRules, preprocess: Preprocess = SHAPES[0], *, fast: bool = False
) -> Array:
    return load_image(content, preprocess, rules, limits=LIMITS, fast=fast)


def mean_difference(one: Array, other: Array) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("preprocess", SHAPES, ids=str)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_turned_file_is_its_upright_picture(kind, orientation, preprocess):
    turned = encoded(scene(93, 61), kind, orientation)
    decoded = Image.open(io.BytesIO(turned)).convert("RGB")
    upright = decoded if orientation == 1 else decoded.transpose(TURNS[orientation])
    expected = load(encoded(upright), AS_OPEN_CLIP, preprocess)
    for fast in (False, True):
        found = load(turned, UPRIGHT, preprocess, fast=fast)
        assert np.abs(found.astype(int) - expected).max() <= fast
    np.testing.assert_array_equal(
        load(turned, AS_OPEN_CLIP, preprocess), load(encoded(decoded), AS_OPEN_CLIP, preprocess)
    )


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_photograph_is_scaled_by_its_decoder_and_cropped_where_it_should(orientation):
    # 3 × 8 + 1 rows and columns: after a turn, the part that covers less than a pixel comes first.
    content = encoded(scene(1801, 1209), "JPEG", orientation, quality=95)
    opened = open_image(content, Preprocess(128, 128), UPRIGHT, limits=LIMITS, fast=True)
    assert opened.scaled
    fast, whole = (load(content, UPRIGHT, Preprocess(128, 128), fast=fast) for fast in (True, False))
    here = mean_difference(fast, whole)
    shifted = [mean_difference(np.roll(fast, by, axis), whole) for by in (-1, 1) for axis in (0, 1)]
    assert here < 0.4 * min(shifted)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decoded_pixels_are_turned_as_their_file(orientation):
    image = scene(50, 31)
    raw = RawImage(image.tobytes(), 50, 31, orientation=orientation)
    for rules in (UPRIGHT, AS_OPEN_CLIP):
        found = load_raw(raw, SHAPES[0], rules, limits=LIMITS, fast=False)
        np.testing.assert_array_equal(found, load(encoded(image, "PNG", orientation), rules))
        np.testing.assert_array_equal(found, load(to_png(raw), rules))


@given(
    st.integers(1, 8),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.lists(st.integers(0, 9), min_size=4, max_size=4),
)
@settings(max_examples=100, deadline=None)
def test_the_box_turns_with_the_image(orientation, size, sides):
    (width, height), (a, b, c, d) = size, sides
    box = (min(a, width - 1), min(b, height - 1), max(c, a + 1), max(d, b + 1))
    box = (box[0], box[1], max(box[0] + 1, min(box[2], width)), max(box[1] + 1, min(box[3], height)))
    image = Image.fromarray(np.arange(width * height, dtype=np.uint8).reshape(height, width))
    steps = Steps(orientation)
    cropped, whole = image.crop(box), image
    if orientation > 1:
        cropped, whole = (part.transpose(TURNS[orientation]) for part in (cropped, whole))
    assert steps.size(size) == whole.size
    left, top, right, bottom = (round(side) for side in steps.box(box, size))
    np.testing.assert_array_equal(np.asarray(whole.crop((left, top, right, bottom))), np.asarray(cropped))


def with_alpha(mode: str, width: int = 64, height: int = 64) -> Image.Image:
    image = scene(width, height).convert(mode[:-1])
    image.putalpha(Image.fromarray((np.arange(width * height) % 256).reshape(height, width).astype(np.uint8)))
    return image


def composed(image: Image.Image, background: tuple[int, int, int]) -> Array:
    """An image with alpha in front of a background, by the formula."""
    pixels = np.asarray(image.convert("RGBA")).astype(int)
    color, opacity = pixels[..., :3], pixels[..., 3:]
    return ((opacity * color + (255 - opacity) * background) / 255 + 0.5).astype(np.uint8)


@pytest.mark.parametrize("background", [(255, 255, 255), BLUE, (0, 0, 0)])
@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGBA", "PNG", {}),
        ("RGBA", "WEBP", {"lossless": True, "exact": True}),
        ("RGBA", "TIFF", {}),
        ("LA", "PNG", {}),
        ("LA", "TIFF", {}),
    ],
)
def test_alpha_follows_the_formula_before_the_image_is_resized(mode, kind, options, background):
    image = with_alpha(mode)
    found = load(encoded(image, kind, **options), ImageRules(background=background), Preprocess(64, 64))
    np.testing.assert_array_equal(found, composed(image, background))
    flat = encoded(Image.fromarray(composed(with_alpha(mode, 90, 70), background)))
    for preprocess in SHAPES:
        found = load(
            encoded(with_alpha(mode, 90, 70), kind, **options), ImageRules(background=background), preprocess
        )
        np.testing.assert_array_equal(found, load(flat, AS_OPEN_CLIP, preprocess))


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_the_background_does_not_depend_on_the_strips(monkeypatch, rows):
    monkeypatch.setattr(image_rules, "STRIP_PIXELS", rows * 64)
    found = load(encoded(with_alpha("RGBA")), ImageRules(background=BLUE), Preprocess(64, 64))
    np.testing.assert_array_equal(found, composed(with_alpha("RGBA"), BLUE))


@pytest.mark.parametrize("mark", [5, bytes(range(100))])
def test_transparent_colors_of_a_palette_show_the_background(mark):
    image = scene(64, 64).quantize(100)
    content = encoded(image, "PNG", transparency=mark)
    expected = composed(Image.open(io.BytesIO(content)), BLUE)
    np.testing.assert_array_equal(load(content, ImageRules(background=BLUE), Preprocess(64, 64)), expected)


def test_the_transparent_color_of_a_gif_shows_the_background():
    image = scene(64, 64).quantize(100)
    content = encoded(image, "GIF", transparency=int(np.asarray(image)[30, 30]))
    found = load(content, ImageRules(background=(1, 2, 3)), Preprocess(64, 64))
    expected = composed(Image.open(io.BytesIO(content)), (1, 2, 3))
    np.testing.assert_array_equal(found, expected)
    assert (found == (1, 2, 3)).all(axis=2).any()


def gray_png(depth: int, color: int, samples: npt.NDArray[Any], mark: tuple[int, ...]) -> bytes:
    """A PNG with 8 × 8 samples of this depth and color type, one color of which is transparent."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, depth, color, 0, 0, 0))
    if depth < 8:
        bits = ((samples[..., None] >> np.arange(depth)[::-1]) & 1).reshape(8, -1)
        rows = np.packbits(bits.astype(np.uint8), axis=1)
    else:
        rows = samples.astype(">u2" if depth == 16 else np.uint8)
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    mark_chunk = chunk(b"tRNS", struct.pack(f">{len(mark)}H", *mark))
    return b"\x89PNG\r\n\x1a\n" + header + mark_chunk + data + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("depth", "color"), [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2)], ids=str
)
def test_one_transparent_color_shows_the_background_at_every_depth(depth, color):
    shape = (8, 8, 3) if color else (8, 8)
    samples = np.random.default_rng(depth).integers(0, 1 << min(depth, 3), shape) << max(0, depth - 3)
    mark = samples[2, 3]
    clear = (samples == mark).all(axis=2) if color else samples == mark
    marks = [tuple(np.atleast_1d(mark).tolist())]
    if 1 < depth < 16:
        # Only the lower bits of the color count.
        marks.append(tuple(sample | 0x100 << place for place, sample in enumerate(marks[0])))
    for one in marks:
        content = gray_png(depth, color, samples, one)
        found = load(content, ImageRules(background=BLUE), Preprocess(8, 8))
        assert (found[clear] == BLUE).all()
        np.testing.assert_array_equal(found[~clear], load(content, AS_OPEN_CLIP, Preprocess(8, 8))[~clear])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_an_opaque_image_without_a_tag_is_the_same_under_all_rules(kind):
    content = encoded(scene(90, 61), kind)
    expected = load(content, AS_OPEN_CLIP)
    for rules in (UPRIGHT, WHITE, ImageRules(True, BLUE)):
        np.testing.assert_array_equal(load(content, rules), expected)


def test_alpha_that_is_full_everywhere_changes_nothing_but_rounding():
    image = scene(90, 61)
    image.putalpha(255)
    difference = np.abs(load(encoded(image), WHITE).astype(int) - load(encoded(image), AS_OPEN_CLIP))
    assert difference.max() <= 1


def test_a_black_logo_without_background_is_not_lost():
    logo = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    logo.paste((0, 0, 0, 255), (20, 20, 44, 44))
    assert load(encoded(logo), AS_OPEN_CLIP).max() == 0
    seen = load(encoded(logo), WHITE)
    assert (seen[0, 0] == 255).all()
    assert (seen[16, 16] == 0).all()


def test_both_rules_apply_together():
    image, rules = with_alpha("RGBA", 70, 50), ImageRules(True, BLUE)
    flat = Image.fromarray(composed(image, BLUE)).transpose(TURNS[6])
    np.testing.assert_array_equal(load(encoded(image, "PNG", 6), rules), load(encoded(flat), AS_OPEN_CLIP))


def test_a_tiffs_own_orientation_is_applied_once_under_both_rules():
    image = scene(90, 61)
    file = io.BytesIO()
    image.save(file, "TIFF", tiffinfo={274: 6})
    expected = load(encoded(image.transpose(TURNS[6])), AS_OPEN_CLIP)
    for rules in (AS_OPEN_CLIP, UPRIGHT):
        np.testing.assert_array_equal(load(file.getvalue(), rules), expected)
