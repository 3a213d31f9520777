"""Images in requests."""

from __future__ import annotations

import pytest
from clipserve.v1 import common_pb2
from clipserve_gateway.convert.common import read_image
from clipserve_gateway.errors import InvalidInput


def raw(orientation: int) -> common_pb2.Image:
    """One pixel with an orientation."""
    pixels = common_pb2.RawImage(rgb=b"abc", width=1, height=1, orientation=orientation)
    return common_pb2.Image(raw=pixels)


@pytest.mark.parametrize(("sent", "read"), [(0, 1), (1, 1), (6, 6), (8, 8)])
def test_the_orientation_of_decoded_pixels_is_read(sent, read):
    assert read_image(raw(sent)).orientation == read


@pytest.mark.parametrize("orientation", [9, 274, 2**32 - 1])
def test_an_orientation_that_exif_does_not_know_is_refused_and_named(orientation):
    with pytest.raises(InvalidInput, match="give 1 to 8") as caught:
        read_image(raw(orientation), "image.")
    assert caught.value.field == "image.raw.orientation"
