from __future__ import annotations

import io

import numpy as np
import pytest
from client.pictures import pixels, png
from clipserve.errors import ImageUnreadable
from clipserve.inputs.image_like import ExactPixels
from clipserve.wire.images import write_image
from PIL import Image


def decoded(message):
    return Image.open(io.BytesIO(message.content))


def test_bytes_go_as_they_are():
    for held in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        assert write_image(held).content == b"abc"


def test_files_are_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(1))
    assert write_image(path).content == write_image(str(path)).content == png(1)


@pytest.mark.parametrize("path", ["/no/such/file.jpg", "/tmp", "with\0zero"])
def test_files_that_cannot_be_read_say_so(path):
    with pytest.raises(ImageUnreadable, match="cannot read") as caught:
        write_image(path)
    assert isinstance(caught.value.__cause__, OSError | ValueError)


def test_addresses_are_not_fetched():
    with pytest.raises(ImageUnreadable, match="URLs are not fetched"):
        write_image("https://example.org/cat.jpg")


def test_arrays_go_as_raw_pixels():
    raw = write_image(pixels(1)).raw
    assert (raw.width, raw.height) == (32, 24)
    assert raw.rgb == pixels(1).tobytes()


def test_arrays_of_any_layout_keep_their_pixels():
    view = pixels(1)[::-2, ::3]
    assert write_image(view).raw.rgb == np.ascontiguousarray(view).tobytes()


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.zeros((4, 4, 3), np.float32), r"must be uint8 \(0–255\), not float32; scale floats"),
        (np.zeros((4, 4, 3), np.int64), "must be uint8"),
        (np.zeros((4, 4), np.uint8), r"not \[4, 4\]; repeat a gray image"),
        (np.zeros((3, 4, 4), np.uint8), "channels come last"),
        (np.zeros((4, 4, 4), np.uint8), "drop the alpha channel"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"must have shape \[H, W, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
    ],
)
def test_other_arrays_are_refused_with_the_cure(array, hint):
    with pytest.raises(ValueError, match=hint):
        write_image(array)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_pillow_images_keep_their_mode_without_loss(mode):
    image = Image.fromarray(pixels(1)).convert(mode)
    copy = decoded(write_image(image))
    assert copy.mode == mode
    np.testing.assert_array_equal(np.asarray(copy.convert("RGB")), np.asarray(image.convert("RGB")))


def test_pillow_rgb_goes_as_raw_pixels():
    assert write_image(Image.fromarray(pixels(1))).raw.rgb == pixels(1).tobytes()


@pytest.mark.parametrize("image", [png(1), pixels(1), Image.fromarray(pixels(1)).convert("L")], ids=type)
def test_exact_pixels_are_asked_for_with_the_picture(image):
    plain, exact = write_image(image), write_image(ExactPixels(image))
    assert (plain.exact_pixels, exact.exact_pixels) == (False, True)
    exact.ClearField("exact_pixels")
    assert exact == plain


def test_pillow_floats_are_refused():
    with pytest.raises(ValueError, match="no defined range"):
        write_image(Image.fromarray(np.zeros((4, 4), np.float32)))


@pytest.mark.parametrize("thing", [None, 5, ["a.jpg"], object()])
def test_what_is_no_picture_is_a_type_error(thing):
    with pytest.raises(TypeError, match="an image is bytes, a path"):
        write_image(thing)
