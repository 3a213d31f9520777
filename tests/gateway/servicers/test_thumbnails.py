"""GetThumbnail over real gRPC, around a fake encoder."""

from __future__ import annotations

import io

import pytest
from clipserve.v1 import collection_pb2, common_pb2
from PIL import Image

from testing.wire import refusal


@pytest.fixture
async def pets(collections, picture):
    """Name of a collection that keeps sources, with one picture of 400 × 400 pixels."""
    await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="pets", keep_sources=True))
    point = collection_pb2.PointInput(id="a", image=common_pb2.Image(content=picture(side=400).content))
    await collections.UpsertPoints(collection_pb2.UpsertPointsRequest(collection="pets", points=[point]))
    return "pets"


@pytest.mark.parametrize(("max_side", "side"), [(0, 256), (16, 16), (300, 300), (1024, 400)])
async def test_a_thumbnail_has_at_most_the_wanted_side(collections, pets, max_side, side):
    response = await collections.GetThumbnail(
        collection_pb2.GetThumbnailRequest(collection=pets, id="a", max_side=max_side)
    )
    assert (response.width, response.height) == (side, side)
    assert Image.open(io.BytesIO(response.jpeg)).size == (side, side)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"max_side": 15}, "INVALID_ARGUMENT", "max_side"),
        ({"max_side": 1025}, "INVALID_ARGUMENT", "max_side"),
        ({"max_side": 2**32 - 1}, "INVALID_ARGUMENT", "max_side"),
        ({"id": ""}, "INVALID_ARGUMENT", "id"),
        ({"id": "a\n"}, "INVALID_ARGUMENT", "id"),
        ({"id": "nobody"}, "NOT_FOUND", "id"),
        ({"collection": "nowhere"}, "NOT_FOUND", "collection"),
    ],
)
async def test_a_bad_request_names_the_field(collections, pets, changes, code, field):
    request = collection_pb2.GetThumbnailRequest(**({"collection": pets, "id": "a"} | changes))
    status, _, fields = await refusal(collections.GetThumbnail(request))
    assert (status.name, fields) == (code, [field])


async def test_a_collection_without_sources_is_refused(collections):
    await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="bare"))
    call = collections.GetThumbnail(collection_pb2.GetThumbnailRequest(collection="bare", id="a"))
    status, info, fields = await refusal(call)
    assert (status.name, info.reason, fields) == ("FAILED_PRECONDITION", "SOURCES_NOT_KEPT", ["collection"])
