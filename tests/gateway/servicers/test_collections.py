"""CollectionService and Search over real gRPC, around a fake encoder."""

from __future__ import annotations

import math

import grpc
import numpy as np
import pytest
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2

from testing.fakes import DIM, SPEC
from testing.wire import refusal


def text(words: str) -> clip_pb2.EmbedInput:
    return clip_pb2.EmbedInput(text=words)


def image(content: bytes) -> clip_pb2.EmbedInput:
    return clip_pb2.EmbedInput(image=common_pb2.Image(content=content))


async def test_points_are_kept_found_and_deleted(clip, collections, picture):
    schema = [collection_pb2.PayloadField(name="year", type=common_pb2.PAYLOAD_TYPE_INT)]
    made = await collections.CreateCollection(
        collection_pb2.CreateCollectionRequest(name="pets", schema=schema)
    )
    assert made.collection.model.fingerprint == SPEC.fingerprint
    vector = np.eye(DIM, dtype="<f4")[0]
    points = [
        collection_pb2.PointInput(id="text", text="a dog", payload={"year": common_pb2.Value(int_value=1)}),
        collection_pb2.PointInput(id="image", image=common_pb2.Image(content=picture().content)),
        collection_pb2.PointInput(
            id="vector", embedding=common_pb2.Embedding(float32_le=(vector * 7).tobytes())
        ),
        collection_pb2.PointInput(id="broken", image=common_pb2.Image(content=b"junk")),
        collection_pb2.PointInput(
            id="short", embedding=common_pb2.Embedding(float32_le=vector[:3].tobytes())
        ),
        collection_pb2.PointInput(id="odd", text="x", payload={"month": common_pb2.Value(int_value=1)}),
    ]
    response = await collections.UpsertPoints(
        collection_pb2.UpsertPointsRequest(collection="pets", points=points)
    )
    assert [(status.reason, status.field) for status in response.statuses] == [
        ("", ""),
        ("", ""),
        ("", ""),
        ("IMAGE_UNREADABLE", "points[3].image.content"),
        ("DIMENSION_MISMATCH", "points[4].embedding"),
        ("PAYLOAD_INVALID", 'points[5].payload["month"]'),
    ]
    response = await clip.Search(clip_pb2.SearchRequest(collection="pets", text="a dog", top_k=1))
    assert response.hits[0].id == "text"
    assert response.hits[0].score == pytest.approx(1, abs=1e-5)
    assert response.hits[0].payload["year"].int_value == 1
    stored = await collections.GetPoints(
        collection_pb2.GetPointsRequest(collection="pets", ids=["vector"], with_embeddings=True)
    )
    np.testing.assert_allclose(np.frombuffer(stored.points[0].embedding.float32_le, "<f4"), vector, atol=1e-6)
    gone = await collections.DeletePoints(
        collection_pb2.DeletePointsRequest(collection="pets", ids=["text", "nope"])
    )
    assert gone.deleted == 1
    count = await collections.CountPoints(collection_pb2.CountPointsRequest(collection="pets"))
    assert count.count == 2


def packed(*numbers: float) -> common_pb2.Embedding:
    return common_pb2.Embedding(float32_le=np.array(numbers, "<f4").tobytes())


GOOD = [1.0] * DIM


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"embedding": packed(math.nan, *GOOD[1:])}, "INVALID_ARGUMENT", "embedding.float32_le"),
        ({"embedding": packed(math.inf, *GOOD[1:])}, "INVALID_ARGUMENT", "embedding.float32_le"),
        ({"embedding": packed(*[0.0] * DIM)}, "INVALID_ARGUMENT", "embedding.float32_le"),
        ({"embedding": common_pb2.Embedding(float32_le=b"123")}, "INVALID_ARGUMENT", "embedding.float32_le"),
        ({"embedding": common_pb2.Embedding()}, "INVALID_ARGUMENT", "embedding"),
        ({"embedding": packed(*GOOD, 1.0)}, "FAILED_PRECONDITION", "embedding"),
        ({"text": "a", "top_k": -1}, "INVALID_ARGUMENT", "top_k"),
        ({"text": "a", "top_k": 1001}, "INVALID_ARGUMENT", "top_k"),
        ({"text": "a", "score_threshold": 2.0}, "INVALID_ARGUMENT", "score_threshold"),
        ({"text": "a", "fingerprint": "0" * 64}, "FAILED_PRECONDITION", "fingerprint"),
        ({}, "INVALID_ARGUMENT", "query"),
        ({"text": "a", "filter": common_pb2.Filter()}, "INVALID_ARGUMENT", "filter"),
        ({"image": common_pb2.Image(content=b"junk")}, "INVALID_ARGUMENT", "image.content"),
    ],
)
async def test_a_bad_search_names_the_field(clip, collections, changes, code, field):
    await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="pets"))
    status, _, fields = await refusal(clip.Search(clip_pb2.SearchRequest(collection="pets", **changes)))
    assert (status.name, fields) == (code, [field])


async def test_a_collection_of_another_model_is_refused(clip, collections, gateway, backend):
    await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="pets"))
    for tower in backend.source.found.values():
        tower.parameters["fingerprint"] = "0" * 64
    await gateway.models.refresh()
    code, info, _ = await refusal(clip.Search(clip_pb2.SearchRequest(collection="pets", text="a")))
    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FINGERPRINT_MISMATCH")
    assert (info.metadata["collection"], info.metadata["request"]) == (SPEC.fingerprint, "0" * 64)
    point = collection_pb2.PointInput(id="a", text="a")
    code, _, _ = await refusal(
        collections.UpsertPoints(collection_pb2.UpsertPointsRequest(collection="pets", points=[point]))
    )
    assert code is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("name", ["", "ab", "1abc", "-abc", "a b c", "a" * 65, "drop;table", "naïve"])
async def test_a_bad_collection_name_is_refused(collections, name):
    code, _, fields = await refusal(
        collections.CreateCollection(collection_pb2.CreateCollectionRequest(name=name))
    )
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["name"])


@pytest.mark.parametrize("id", ["", "a" * 513, "a\nb", "\x00", "\x85"])
async def test_a_bad_id_is_refused_alone(collections, id):
    await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="pets"))
    points = [collection_pb2.PointInput(id=id, text="a"), collection_pb2.PointInput(id="good", text="b")]
    response = await collections.UpsertPoints(
        collection_pb2.UpsertPointsRequest(collection="pets", points=points)
    )
    assert [status.field for status in response.statuses] == ["points[0].id", ""]


async def test_one_id_twice_in_a_call_is_refused(collections):
    await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name="pets"))
    points = [collection_pb2.PointInput(id="a", text="a")] * 2
    _, _, fields = await refusal(
        collections.UpsertPoints(collection_pb2.UpsertPointsRequest(collection="pets", points=points))
    )
    assert fields == ["points[1].id"]


async def test_collections_are_listed_page_by_page(collections):
    for i in range(5):
        await collections.CreateCollection(collection_pb2.CreateCollectionRequest(name=f"pets_{i}"))
    names, token = [], ""
    while True:
        page = await collections.ListCollections(
            collection_pb2.ListCollectionsRequest(page_size=2, page_token=token)
        )
        names += [collection.name for collection in page.collections]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"pets_{i}" for i in range(5)]
    _, _, fields = await refusal(
        collections.ListCollections(collection_pb2.ListCollectionsRequest(page_token="ä"))
    )
    assert fields == ["page_token"]
