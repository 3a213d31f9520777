"""Thumbnails in protobuf."""

from __future__ import annotations

from clipserve.v1 import collection_pb2

from clipserve_gateway.convert.points import check_id
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.inputs.thumbnail import Thumbnail

SIDES = (16, 1024)
"""Smallest and largest max_side, in pixels."""
DEFAULT_SIDE = 256


def read_thumbnail(request: collection_pb2.GetThumbnailRequest) -> int:
    """Most pixels of the longer side. Raises InvalidInput for an invalid id or side."""
    check_id(request.id, "id")
    side = request.max_side or DEFAULT_SIDE
    if not SIDES[0] <= side <= SIDES[1]:
        raise InvalidInput(
            f"max_side is {side}; give {SIDES[0]} to {SIDES[1]} pixels, or 0 for {DEFAULT_SIDE}",
            field="max_side",
        )
    return side


def write_thumbnail(thumbnail: Thumbnail) -> collection_pb2.GetThumbnailResponse:
    """The thumbnail as a message."""
    return collection_pb2.GetThumbnailResponse(
        jpeg=thumbnail.jpeg, width=thumbnail.width, height=thumbnail.height
    )
