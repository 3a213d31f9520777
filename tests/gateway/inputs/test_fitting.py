"""Every shape, mode and filter. tests/exporter/test_pixels.py compares them with open_clip itself."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from clipserve_gateway.inputs.fitting import Fit, fit_of, fitted
from clipserve_gateway.types import Preprocess
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

RESIZES = ("shortest", "longest", "squash")
SIDES = st.integers(1, 300)
SHAPES = st.builds(
    Preprocess,
    st.sampled_from([8, 21, 32]),
    st.sampled_from([8, 21, 32]),
    st.sampled_from(RESIZES),
    st.sampled_from(["bicubic", "bilinear"]),
    st.sampled_from([0, 127, 255]),
)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels_of(image: Image.Image, preprocess: Preprocess, *, fast: bool = False) -> Any:
    return fitted(image, (0, 0, *image.size), fit_of(*image.size, preprocess), fast=fast)


@given(SIDES, SIDES, SHAPES, st.booleans())
@settings(max_examples=80, deadline=None)
def test_every_image_gets_the_shape_of_the_input(width, height, preprocess, fast):
    pixels = pixels_of(noise(width, height), preprocess, fast=fast)
    assert (pixels.shape, pixels.dtype) == ((preprocess.height, preprocess.width, 3), np.uint8)


@given(SIDES, SIDES, SHAPES)
@settings(max_examples=80, deadline=None)
def test_a_longest_side_fits_and_the_fill_is_around_the_image(width, height, preprocess):
    preprocess = Preprocess(preprocess.height, preprocess.width, "longest", fill=preprocess.fill)
    image = Image.new("RGB", (width, height), (1, 2, 3))
    pixels = pixels_of(image, preprocess)
    fit = fit_of(width, height, preprocess)
    assert fit.target[0] == preprocess.width or fit.target[1] == preprocess.height
    assert not fit.crops
    inside = np.zeros(pixels.shape[:2], bool)
    left, top, right, bottom = fit.border
    inside[top : preprocess.height - bottom, left : preprocess.width - right] = True
    assert {right - left, bottom - top} <= {0, 1}
    assert (pixels[inside] == (1, 2, 3)).all()
    assert (pixels[~inside] == preprocess.fill).all()
    np.testing.assert_array_equal(fit.without_border(pixels).reshape(-1, 3), pixels[inside])


@given(SIDES, SIDES, SHAPES)
@settings(max_examples=40, deadline=None)
def test_squashing_is_one_resize(width, height, preprocess):
    preprocess = Preprocess(preprocess.height, preprocess.width, "squash", preprocess.interpolation)
    image = noise(width, height)
    filter = Image.Resampling[preprocess.interpolation.upper()]
    whole = image.resize((preprocess.width, preprocess.height), filter)
    for fast in (False, True):
        np.testing.assert_array_equal(pixels_of(image, preprocess, fast=fast), np.asarray(whole))


@pytest.mark.parametrize(("height", "width"), [(16, 32), (32, 16)])
def test_a_shape_that_is_no_square_is_filled_and_always_bicubic(height, width):
    image = noise(123, 77)
    bicubic, bilinear = (
        pixels_of(image, Preprocess(height, width, "shortest", name)) for name in ("bicubic", "bilinear")
    )
    np.testing.assert_array_equal(bicubic, bilinear)
    fit = fit_of(123, 77, Preprocess(height, width))
    assert min(fit.target[0] - width, fit.target[1] - height) == 0
    assert not any(fit.border)


@pytest.mark.parametrize(("resize", "square"), list(itertools.product(RESIZES, (True, False))))
def test_the_filter_matters_wherever_open_clip_uses_it(resize, square):
    shape = (32, 32 if square else 24)
    bicubic, bilinear = (
        pixels_of(noise(90, 70), Preprocess(*shape, resize, name)) for name in ("bicubic", "bilinear")
    )
    assert (bicubic != bilinear).any() == (square or resize != "shortest")


@given(st.integers(40, 300), st.integers(40, 300), SHAPES, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_resizing_the_crop_alone_is_close_to_cropping_the_whole(width, height, preprocess, seed):
    image = noise(width, height, seed)
    whole, part = (pixels_of(image, preprocess, fast=fast).astype(int) for fast in (False, True))
    # Noise is the worst case: Pillow rounds and clips between its two passes, whose order may differ.
    assert np.abs(whole - part).mean() < 3


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1)])
@pytest.mark.parametrize("resize", RESIZES)
def test_a_line_of_one_pixel_is_an_image(size, resize):
    assert pixels_of(Image.new("RGB", size, "red"), Preprocess(16, 24, resize)).shape == (16, 24, 3)


def test_a_part_of_an_image_is_fitted_like_an_image_of_its_own():
    image, preprocess = noise(200, 150), Preprocess(32, 32)
    part = fitted(image, (20, 10, 160, 130), fit_of(140, 120, preprocess), fast=False)
    # Pixels just outside of the part count a little.
    own = pixels_of(image.crop((20, 10, 160, 130)), preprocess)
    assert np.abs(part.astype(int) - own)[2:-2, 2:-2].max() <= 1


def test_the_crop_is_that_of_open_clips_rounding():
    corners = [Fit((side, 8), (8, 8), Image.Resampling.BICUBIC, 0).corner[0] for side in (8, 9, 10, 11, 13)]
    assert corners == [0, 0, 1, 2, 2]
