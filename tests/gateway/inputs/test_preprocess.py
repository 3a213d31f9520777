"""Pixels equal open_clip's, odd images follow the policy, and hostile files are refused."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from clipserve_gateway.errors import ImageError, ImageFormatUnsupported, ImageTooLarge, ImageUnreadable
from clipserve_gateway.inputs import preprocess
from clipserve_gateway.inputs.fitting import fit_of
from clipserve_gateway.inputs.preprocess import ImageLimits, load_image, load_raw
from clipserve_gateway.types import Preprocess, RawImage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageSequence

from testing.hostile.cases import Item
from testing.hostile.images import IMAGES
from testing.hostile.images_tiff import TIFFS
from testing.preprocessing import square

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"
PHOTOS = ROOT / "demo" / "photos"
SHARED = ROOT.parent / "shared" / "data" / "golden"
LIMITS = ImageLimits(20 << 20, 64_000_000)
FILES = sorted(path.name for path in (GOLDEN / "images").iterdir())

# The server ignores Pillow's warnings about odd files.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

Array = npt.NDArray[np.uint8]


def content_of(name: str) -> bytes:
    folder = GOLDEN / "images" if name in FILES else PHOTOS
    return (folder / name).read_bytes()


def encoded(image: Image.Image | Array, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def scene(width: int, height: int) -> Image.Image:
    """An image with smooth areas and edges, like a photograph."""
    y, x = np.mgrid[0:height, 0:width]
    base = 127 + 90 * np.sin(7 * x / width) * np.cos(5 * y / height)
    image = Image.fromarray(np.stack([base, 255 - base, 255 * y / height], 2).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.3, height * 0.2, width * 0.7, height * 0.8), "orange", "black", width // 60 + 1)
    draw.rectangle((width * 0.1, height * 0.6, width * 0.4, height * 0.9), "navy")
    return image


def drawing(name: str, width: int, height: int) -> Image.Image:
    """Images that scaled decoding would change: lines on one background, halftone, almost one color."""
    y, x = np.mgrid[0:height, 0:width]
    image = Image.new("RGB", (width, height), (235, 230, 220) if name == "pale chart" else "white")
    if name.endswith("chart"):
        for i, color in enumerate(("red", "blue", "green")):
            heights = height * (0.5 + 0.3 * np.sin(np.arange(width) / (9 + i)))
            ImageDraw.Draw(image).line(list(enumerate(heights.tolist())), color, 2)
    elif name == "letters":
        for top in range(0, height, 20):
            ImageDraw.Draw(image).text((5, top), "letters in front of white " * 6, "black")
    elif name != "one color":
        values = {
            "lines": y % 2 * 255,
            "checks": (x + y) % 2 * 255,
            "halftone": 30 + 195 * (np.hypot(x % 6 - 3, y % 6 - 3) * width > x * 4),
            "stars": (np.random.default_rng(0).random((height, width)) < 0.0005) * 255,
        }
        image = Image.fromarray(values[name].astype(np.uint8)).convert("RGB")
    return image


def exact(content: bytes, size: int = 64) -> Array:
    return load_image(content, *square(size), limits=LIMITS, fast=False)


def mean_difference(one: Array, other: Array) -> float:
    return float(np.abs(one.astype(int) - other).mean())


class TestFidelity:
    @pytest.mark.parametrize("name", [*FILES, "cat.jpg", "rocket.jpg"])
    def test_exact_mode_equals_open_clip_to_the_bit(self, name: str) -> None:
        with np.load(GOLDEN / "pixels.npz") as golden:
            expected = golden[name]
        np.testing.assert_array_equal(exact(content_of(name), len(expected)), expected)

    @pytest.mark.skipif(
        not SHARED.exists(), reason="the data set of OpenAI's image tensors is not on this machine"
    )
    def test_exact_mode_equals_openai_on_photographs(self) -> None:
        mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
        std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
        with np.load(SHARED / "preprocessed_224_openai.npz") as golden:
            for name, expected in zip(golden["name"], golden["pixel_values"], strict=True):
                pixels = exact((SHARED / "images" / name.decode()).read_bytes(), 224)
                normalized = (pixels.astype(np.float32) / 255 - mean) / std
                np.testing.assert_array_equal(normalized.transpose(2, 0, 1), expected)

    @pytest.mark.parametrize("name", FILES)
    def test_fast_mode_is_exact_for_small_files_but_for_rounding(self, name: str) -> None:
        content = content_of(name)
        fast = load_image(content, *square(64), limits=LIMITS, fast=True)
        differs = np.abs(fast.astype(int) - exact(content))
        assert differs.max() <= 1
        assert (differs > 0).mean() < 0.001

    @pytest.mark.parametrize("side", [(1280, 960), (1001, 1999), (3000, 2003)])
    def test_fast_mode_stays_close_on_large_photographs(self, side: tuple[int, int]) -> None:
        content = encoded(scene(*side), "JPEG", quality=90)
        fast, whole = load_image(content, *square(224), limits=LIMITS, fast=True), exact(content, 224)
        assert mean_difference(fast, whole) < 0.7
        assert np.abs(fast.astype(int) - whole).max() < 48

    @pytest.mark.parametrize(
        ("side", "scale"), [((1280, 960), 1), ((2000, 1500), 1), ((2400, 1792), 2), ((4800, 3584), 4)]
    )
    def test_large_photographs_are_decoded_at_no_less_than_four_times_the_target(
        self, side: tuple[int, int], scale: int
    ) -> None:
        content = encoded(Image.new("RGB", side, "teal"), "JPEG")
        opened = preprocess.open_image(content, *square(224), limits=LIMITS, fast=True)
        assert opened.image.size == (side[0] // scale, side[1] // scale)
        assert opened.scaled == (scale > 1)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
    @pytest.mark.parametrize(
        "name", ["lines", "checks", "stars", "halftone", "chart", "pale chart", "letters", "one color"]
    )
    def test_drawings_and_fine_textures_are_exact_in_fast_mode_too(self, name: str, kind: str) -> None:
        image = drawing(name, 1000, 800)
        content = encoded(image, kind, **({"lossless": True, "method": 0} if kind == "WEBP" else {}))
        fast = load_image(content, *square(96), limits=LIMITS, fast=True)
        scaled = preprocess.open_image(content, *square(96), limits=LIMITS, fast=True).scaled
        assert scaled == (kind == "JPEG")
        differs = np.abs(fast.astype(int) - exact(content, 96))
        if scaled or name in ("lines", "checks", "stars", "one color"):
            assert differs.max() == 0
        else:  # resized no more than the crop
            assert differs.max() <= 1

    def test_a_drawing_that_takes_much_memory_is_not_decoded_whole_beside_others(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = encoded(drawing("chart", 1200, 1000), "JPEG")
        monkeypatch.setattr(preprocess, "LARGE_BYTES", 7 << 20)
        assert preprocess.load_small(content, *square(96), limits=LIMITS, fast=True) == 2, "megapixels"
        photo = encoded(Image.open(PHOTOS / "cat.jpg").resize((1200, 1000)), "JPEG")
        assert isinstance(preprocess.load_small(photo, *square(96), limits=LIMITS, fast=True), np.ndarray)

    def test_fast_mode_crops_where_the_original_size_says(self) -> None:
        # 3 × 8 + 1 rows and columns: the scaled size would give another target.
        content = encoded(scene(1801, 1209), "JPEG", quality=95)
        fast, whole = load_image(content, *square(224), limits=LIMITS, fast=True), exact(content, 224)
        here = mean_difference(fast, whole)
        shifted = [mean_difference(np.roll(fast, by, axis), whole) for by in (-1, 1) for axis in (0, 1)]
        assert here < 0.4 * min(shifted)

    @given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([16, 33]))
    @settings(max_examples=40, deadline=None)
    def test_sizes_follow_open_clips_rule(self, width: int, height: int, size: int) -> None:
        target = fit_of(width, height, Preprocess(size, size)).target
        assert min(target) == size
        assert max(target) == int(size * max(width, height) / min(width, height))
        assert exact(encoded(np.zeros((height, width, 3), np.uint8)), size).shape == (size, size, 3)

    def test_raw_pixels_give_what_a_png_of_them_gives(self) -> None:
        pixels = np.asarray(scene(123, 77))
        raw = load_raw(RawImage(pixels.tobytes(), 123, 77), *square(64), limits=LIMITS, fast=False)
        np.testing.assert_array_equal(raw, exact(encoded(pixels)))

    def test_no_format_is_loaded_but_those_accepted(self) -> None:
        code = (
            "import sys; from pathlib import Path; from clipserve_gateway.inputs.preprocess import *;"
            "from testing.preprocessing import square;"
            "limits = ImageLimits(10**6, 10**6);"
            "[load_image(Path(f).read_bytes(), *square(8), limits=limits, fast=True) for f in sys.argv[1:]];"
            "print(*sorted(m for m in sys.modules if m.startswith('PIL.') and m.endswith('ImagePlugin')))"
        )
        files = [str(GOLDEN / "images" / name) for name in FILES]
        done = subprocess.run(
            [sys.executable, "-c", code, *files], capture_output=True, text=True, check=True
        )
        kinds = ("Bmp", "Gif", "Jpeg", "Png", "Ppm", "Tiff", "WebP")
        assert done.stdout.split() == [f"PIL.{kind}ImagePlugin" for kind in kinds]

    def test_threads_do_not_disturb_each_other(self) -> None:
        contents = [content_of(name) for name in FILES] * 4
        with ThreadPoolExecutor(8) as pool:
            for one, other in zip(pool.map(exact, contents), map(exact, contents), strict=True):
                np.testing.assert_array_equal(one, other)


class TestPolicies:
    def test_exif_orientation_is_not_applied(self) -> None:
        image, exif = scene(90, 60), Image.Exif()
        exif[0x0112] = 6
        for kind in ("JPEG", "PNG", "WEBP"):
            plain, rotated = encoded(image, kind), encoded(image, kind, exif=exif)
            np.testing.assert_array_equal(exact(rotated), exact(plain))

    def test_tiff_orientation_is_part_of_decoding(self) -> None:
        image = scene(90, 60)
        content = encoded(image, "TIFF", tiffinfo={274: 6})
        np.testing.assert_array_equal(
            exact(content), exact(encoded(image.transpose(Image.Transpose.ROTATE_270)))
        )

    def test_alpha_is_dropped_and_the_color_under_it_shows(self) -> None:
        pixels = np.asarray(scene(64, 64))
        see_through = np.dstack([pixels, np.full((64, 64), 128, np.uint8)])
        assert mean_difference(exact(encoded(see_through)), pixels) == 0

    def test_16_bit_gray_keeps_its_upper_byte(self) -> None:
        values = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
        for kind in ("PNG", "TIFF", "PPM"):
            pixels = exact(encoded(Image.fromarray(values), kind))
            np.testing.assert_array_equal(pixels[..., 1], (values >> 8).astype(np.uint8))

    def test_dark_16_bit_gray_stays_dark(self) -> None:
        dark = Image.fromarray(np.full((64, 64), 200, np.uint16))
        assert exact(encoded(dark, "PPM")).max() == 0

    def test_16_bit_color_keeps_its_upper_byte(self) -> None:
        values = np.random.default_rng(0).integers(0, 65536, (64, 64, 3)).astype(">u2")
        rows = b"".join(b"\0" + row.tobytes() for row in values)
        content = png(64, 64, zlib.compress(rows), depth=16)
        np.testing.assert_array_equal(exact(content), (values >> 8).astype(np.uint8))

    @pytest.mark.parametrize("dtype", [np.float32, np.int32])
    def test_pixels_without_an_agreed_range_are_refused(self, dtype: type) -> None:
        content = encoded(Image.fromarray(np.ones((8, 8), dtype)), "TIFF")
        with pytest.raises(ImageFormatUnsupported, match="convert them to 8 bits"):
            exact(content)

    @pytest.mark.parametrize("name", ["animated.gif", "animated.webp", "pages.tiff"])
    def test_of_several_frames_the_first_counts(self, name: str) -> None:
        with Image.open(GOLDEN / "images" / name) as file:
            frames = [encoded(frame.convert("RGB")) for frame in ImageSequence.Iterator(file)]
        pixels = exact(content_of(name))
        first, *others = (mean_difference(pixels, exact(frame)) for frame in frames)
        assert first < min(others)

    def test_color_profiles_are_ignored(self) -> None:
        assert mean_difference(exact(content_of("profile.png")), exact(content_of("rgb.png"))) == 0

    def test_a_single_pixel_fills_the_picture(self) -> None:
        one = np.array([[[10, 200, 30]]], np.uint8)
        assert (exact(encoded(one)) == one).all()

    @pytest.mark.parametrize(("width", "height"), [(1, 30_000), (30_000, 1), (65_000, 3), (1, 1_000_000)])
    def test_extreme_shapes_are_cropped_before_they_are_resized(self, width: int, height: int) -> None:
        start = time.perf_counter()
        row = np.linspace(0, 255, max(width, height)).astype(np.uint8)
        gray = np.broadcast_to(row.reshape(height, -1) if width == 1 else row, (height, width))
        middle = exact(encoded(np.ascontiguousarray(gray)), 224)
        assert abs(float(middle.mean()) - 127.5) < 2
        assert time.perf_counter() - start < 5

    @given(
        st.integers(1, 60), st.integers(1, 900), st.sampled_from([5, 32]), st.booleans(), st.integers(0, 9)
    )
    @settings(max_examples=60, deadline=None)
    def test_resizing_the_crop_alone_is_close_to_cropping_the_whole(
        self, short: int, long: int, size: int, wide: bool, seed: int
    ) -> None:
        shape = (short, long, 3) if wide else (long, short, 3)
        image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))
        fit, box = fit_of(*image.size, Preprocess(size, size)), (0, 0, *image.size)
        whole, part = (preprocess.fitted(image, box, fit, fast=fast) for fast in (False, True))
        # Noise is the worst case: Pillow rounds and clips between its two passes, whose order may differ.
        assert mean_difference(whole, part) < 3


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *, depth: int = 8, extra: bytes = b"") -> bytes:
    """A PNG of RGB pixels from compressed data, with `extra` chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(entries: list[tuple[int, int, int, int]], rest: bytes = b"") -> bytes:
    """A TIFF of one directory: (tag, type, count, value or offset) each."""
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + rest


@functools.cache
def hostile() -> dict[str, tuple[bytes, type[ImageError]]]:
    """Files that are small or cheap to send, and expensive to decode."""
    bomb = zlib.compress(bytes(50_000_000), 9)
    progressive = encoded(scene(64, 64), "JPEG", progressive=True)
    scan = progressive[progressive.rfind(b"\xff\xda") : -2]
    tags = [(40_000 + i, 7, 1_000_000, 8) for i in range(5_000)]
    tile = [(256, 4, 1, 9), (257, 4, 1, 9), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    tile += [(322, 4, 1, 32_768), (323, 4, 1, 16_384), (324, 4, 1, 200), (325, 4, 1, 50_000)]
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff\xc8\0\0"
    return {
        "pixels of one color": (png(20_000, 20_000, bomb), ImageTooLarge),
        "one long row": (png(30_000_000, 1, bomb), ImageTooLarge),
        "compressed text": (png(8, 8, bomb, extra=chunk(b"zTXt", b"k\0\0" + bomb)), ImageUnreadable),
        "compressed profile": (png(8, 8, bomb, extra=chunk(b"iCCP", b"k\0\0" + bomb)), ImageUnreadable),
        "empty chunks": (png(8, 8, bomb, extra=chunk(b"aaAa", b"") * 300_000), ImageUnreadable),
        "scans": (progressive[:-2] + scan * 3_000 + progressive[-2:], ImageUnreadable),
        "jpeg segments": (b"\xff\xd8" + b"\xff\xe5\0\2" * 1_000_000 + progressive[2:], ImageUnreadable),
        "gif comments": (b"GIF89a\x08\0\x08\0\0\0\0" + b"!\xfe" + b"\x01a" * 1_000_000, ImageUnreadable),
        "tags": (tiff(tags, bytes(1_000_000)), ImageUnreadable),
        "tile": (tiff(tile, bomb), ImageTooLarge),
        "plain text pixels": (b"P3 800 800 255\n" + b"7 " * 1_920_000, ImageTooLarge),
        "canvas": (b"RIFF" + struct.pack("<I", 30) + b"WEBP" + canvas, ImageError),
    }


class TestRefusals:
    @pytest.mark.parametrize("kind", sorted(hostile()))
    def test_hostile_files_are_refused_at_once(self, kind: str) -> None:
        content, error = hostile()[kind]
        start = time.process_time()
        with pytest.raises(error):
            load_image(content, *square(224), limits=LIMITS, fast=True)
        assert time.process_time() - start < 1

    def test_odd_files_add_nothing_to_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        for case in TIFFS:
            with contextlib.suppress(ImageError):
                load_image(case.value, *square(16), limits=LIMITS, fast=True)
        assert caplog.records == []

    @pytest.mark.parametrize("case", IMAGES, ids=str)
    def test_every_bad_or_odd_file_is_decoded_or_refused_as_promised(self, case: Item[bytes]) -> None:
        content, start = case.value, time.process_time()
        if case.reason:
            with pytest.raises(ImageError) as caught:
                load_image(content, *square(16), limits=LIMITS, fast=True)
            assert caught.value.reason == case.reason
        else:
            assert load_image(content, *square(16), limits=LIMITS, fast=True).shape == (16, 16, 3)
        assert time.process_time() - start < 1

    def test_metadata_that_is_expensive_to_parse_is_removed(self) -> None:
        image = scene(64, 64)
        directory = tiff([(40_000 + i, 7, 60_000, 8) for i in range(4_000)])
        segments = b""
        for name in (b"Exif\0\0", b"MPF\0"):
            data = name + directory + bytes(60_000)
            for i in range(0, len(data), 65_000):
                segments += (
                    b"\xff\xe1" + struct.pack(">H", len(data[i : i + 65_000]) + 2) + data[i : i + 65_000]
                )
        content = encoded(image, "JPEG")
        np.testing.assert_array_equal(exact(content[:2] + segments + content[2:]), exact(content))

    @pytest.mark.parametrize("name", FILES)
    def test_truncated_files_are_unreadable(self, name: str) -> None:
        content = content_of(name)
        several = name in {"animated.gif", "pages.tiff"}
        for length in (len(content) // 5 if several else len(content) * 3 // 5, 20, 1):
            with pytest.raises(ImageUnreadable):
                exact(content[:length])

    @pytest.mark.parametrize(
        "content",
        [b"", b"hello", bytes(1000), b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"II*\0"],
    )
    def test_what_is_not_an_image_is_unreadable(self, content: bytes) -> None:
        with pytest.raises(ImageUnreadable):
            exact(content)

    @pytest.mark.parametrize(
        ("content", "name"),
        [
            (b"%PDF-1.7", "PDF"),
            (b"\0\0\0\x18ftypheic", "HEIC"),
            (b"\0\0\0\x1cftypavif", "AVIF"),
            (b"<svg xmlns='x'/>", "SVG"),
        ],
    )
    def test_known_kinds_that_are_not_accepted_are_named(self, content: bytes, name: str) -> None:
        with pytest.raises(ImageFormatUnsupported, match=name):
            exact(content + bytes(100))

    def test_formats_off_the_list_are_refused_though_pillow_reads_them(self) -> None:
        for kind in ("TGA", "PCX", "SGI"):
            with pytest.raises(ImageError):
                exact(encoded(scene(32, 32), kind))

    def test_limits_are_exact_and_told(self) -> None:
        content = encoded(scene(30, 20))
        at_limit = ImageLimits(len(content), 600)
        assert load_image(content, *square(8), limits=at_limit, fast=True).shape == (8, 8, 3)
        for limits in (ImageLimits(len(content) - 1, 600), ImageLimits(len(content), 599)):
            with pytest.raises(ImageTooLarge, match="at most") as caught:
                load_image(content, *square(8), limits=limits, fast=True)
            assert caught.value.metadata["limit"] in {str(limits.max_bytes), "599"}

    def test_the_operators_pixel_limit_may_exceed_pillows_own(self) -> None:
        ImageLimits(1, 1_000_000_000)
        assert (Image.MAX_IMAGE_PIXELS or 0) >= 1_000_000_000

    @pytest.mark.parametrize(("length", "width", "height"), [(11, 2, 2), (13, 2, 2), (0, 0, 5), (0, 5, 0)])
    def test_raw_pixels_must_fill_their_size(self, length: int, width: int, height: int) -> None:
        with pytest.raises(ImageUnreadable) as caught:
            load_raw(RawImage(bytes(length), width, height), *square(8), limits=LIMITS, fast=True)
        assert caught.value.field.startswith("raw")

    def test_raw_pixels_have_the_same_limit(self) -> None:
        with pytest.raises(ImageTooLarge) as caught:
            load_raw(RawImage(b"", 1 << 31, 1 << 31), *square(8), limits=LIMITS, fast=True)
        assert caught.value.field == "raw"

    @given(
        st.sampled_from(FILES),
        st.lists(
            st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 6)), min_size=1, max_size=8
        ),
        st.booleans(),
    )
    @settings(max_examples=250, deadline=None)
    def test_a_mangled_file_raises_nothing_but_image_errors(
        self, name: str, edits: list[tuple[float, bytes, int]], near_header: bool
    ) -> None:
        content = content_of(name)
        for where, new, dropped in edits:
            at = int(where * (min(len(content), 200) if near_header else len(content)))
            content = content[:at] + new + content[at + dropped :]
        try:
            pixels = load_image(content, *square(16), limits=ImageLimits(1 << 20, 1_000_000), fast=True)
        except ImageError:
            return
        assert pixels.shape == (16, 16, 3)
        assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    "content", [b"P3 12 nice words", b"P6 eight 8 255\n", b"P6 8 8 nice\n", b"P3 1 1 255\nred 0 0"]
)
def test_a_text_that_begins_like_a_ppm_is_refused_without_words_of_python(content):
    with pytest.raises(ImageUnreadable) as caught:
        load_image(content, *square(32), limits=LIMITS, fast=False)
    assert not re.search(r"invalid literal|int\(|b'", str(caught.value))
