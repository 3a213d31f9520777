"""The CLI takes the kinds of pictures that the server decodes, and no others."""

from __future__ import annotations

import io

import pytest
from clipserve.tools.file_kinds import DECODABLE, HEAD_BYTES, kind_of
from clipserve_gateway.errors import ImageError
from clipserve_gateway.inputs.image_limits import ImageLimits
from clipserve_gateway.inputs.preprocess import FORMATS, load_image
from PIL import Image

from testing.preprocessing import square

SAVED = (
    "BMP",
    "DIB",
    "GIF",
    "ICO",
    "IM",
    "JPEG",
    "JPEG2000",
    "MPO",
    "PCX",
    "PNG",
    "PPM",
    "SGI",
    "TGA",
    "TIFF",
    "WEBP",
)
MODES = ("L", "RGB")
LIMITS = ImageLimits(1 << 20, 1 << 20)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("format", SAVED)
def test_a_file_is_taken_if_and_only_if_the_server_decodes_it(format, mode):
    file = io.BytesIO()
    Image.new(mode, (64, 48), 1).save(file, format)
    taken = kind_of(file.getvalue()[:HEAD_BYTES]) in DECODABLE
    try:
        load_image(file.getvalue(), *square(32), limits=LIMITS, fast=False)
    except ImageError:
        assert not taken
    else:
        assert taken


def test_kinds_are_called_as_formats_are():
    assert {kind.upper() for kind in DECODABLE} == set(FORMATS)
