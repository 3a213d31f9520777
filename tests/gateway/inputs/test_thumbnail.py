from __future__ import annotations

import io

import numpy as np
import pytest
from clipserve_gateway.errors import ImageTooLarge, ImageUnreadable
from clipserve_gateway.inputs import thumbnail
from clipserve_gateway.inputs.image_limits import ImageLimits
from clipserve_gateway.inputs.thumbnail import Thumbnail, make_small_thumbnail, make_thumbnail
from clipserve_gateway.types import AS_OPEN_CLIP, ImageRules
from PIL import Image

LIMITS = ImageLimits(1 << 20, 4_000_000)
RED, BLUE, GREEN = (250, 0, 0), (0, 0, 250), (0, 200, 0)


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def halves(width: int, height: int, format: str = "PNG", **options: object) -> bytes:
    """A picture that is red at the left and blue at the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return saved(image, format, **options)


def opened(made: Thumbnail) -> Image.Image:
    image = Image.open(io.BytesIO(made.jpeg))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (made.width, made.height))
    return image


def color(image: Image.Image, x: float, y: float) -> tuple[int, ...]:
    """The color at a place, 0–1, rounded so that JPEG's losses do not matter."""
    pixel = image.getpixel((round(x * (image.width - 1)), round(y * (image.height - 1))))
    return tuple(round(sample / 50) * 50 for sample in pixel)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_large_picture_is_scaled_whole_with_its_proportions(format):
    image = opened(make_thumbnail(halves(1200, 600, format), 100, AS_OPEN_CLIP, LIMITS))
    assert image.size == (100, 50)
    assert (color(image, 0.05, 0.5), color(image, 0.95, 0.5)) == (RED, BLUE)


def test_a_picture_that_is_smaller_stays_as_it_is():
    assert opened(make_thumbnail(halves(40, 30), 256, AS_OPEN_CLIP, LIMITS)).size == (40, 30)


def test_a_long_picture_keeps_at_least_one_pixel_of_its_short_side():
    assert opened(make_thumbnail(halves(3000, 2), 64, AS_OPEN_CLIP, LIMITS)).size == (64, 1)


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_picture_is_turned_upright_where_the_rules_say_so(format):
    exif = Image.Exif()
    exif[274] = 6  # its left side is shown at the top
    content = halves(800, 400, format, exif=exif)
    turned = opened(make_thumbnail(content, 100, ImageRules(orientation=True), LIMITS))
    assert turned.size == (50, 100)
    assert (color(turned, 0.5, 0.05), color(turned, 0.5, 0.95)) == (RED, BLUE)
    assert opened(make_thumbnail(content, 100, AS_OPEN_CLIP, LIMITS)).size == (100, 50)


def test_transparency_shows_the_background():
    clear = saved(Image.new("RGBA", (64, 64), (*RED, 0)))
    on_green = opened(make_thumbnail(clear, 32, ImageRules(background=GREEN), LIMITS))
    assert color(on_green, 0.5, 0.5) == GREEN


def test_gray_of_sixteen_bits_is_not_clipped():
    gray = saved(Image.fromarray(np.full((64, 64), 100 << 8, np.uint16)))
    image = opened(make_thumbnail(gray, 32, AS_OPEN_CLIP, LIMITS))
    assert color(image, 0.5, 0.5) == (100, 100, 100)


@pytest.mark.parametrize("content", [b"", b"junk", halves(400, 400)[:300], halves(400, 400, "JPEG")[:900]])
def test_a_broken_file_is_unreadable(content):
    with pytest.raises(ImageUnreadable):
        make_thumbnail(content, 100, AS_OPEN_CLIP, LIMITS)


def test_a_picture_over_the_limits_is_too_large():
    with pytest.raises(ImageTooLarge):
        make_thumbnail(halves(2100, 2000), 100, AS_OPEN_CLIP, LIMITS)
    with pytest.raises(ImageTooLarge):
        make_thumbnail(halves(10, 10), 100, AS_OPEN_CLIP, ImageLimits(20, 1000))


def test_a_picture_that_takes_much_memory_tells_its_megapixels_first(monkeypatch):
    content = halves(1500, 1000, "WEBP")
    assert isinstance(make_small_thumbnail(content, 100, AS_OPEN_CLIP, LIMITS), Thumbnail)
    monkeypatch.setattr(thumbnail, "LARGE_BYTES", 1 << 20)
    assert make_small_thumbnail(content, 100, AS_OPEN_CLIP, LIMITS) == 2
    assert opened(make_thumbnail(content, 100, AS_OPEN_CLIP, LIMITS)).size == (100, 67)
