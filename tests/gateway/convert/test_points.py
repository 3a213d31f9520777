from __future__ import annotations

import numpy as np
import pytest
from clipserve.v1 import collection_pb2, common_pb2
from clipserve_gateway.collection.points import Page
from clipserve_gateway.convert.points import read_deletion, read_points, write_point, write_scroll
from clipserve_gateway.errors import ClipserveError, InvalidInput
from clipserve_gateway.index.values import Eq, Point, Source
from clipserve_gateway.settings import Settings

from testing.convert import spec

LIMITS = Settings(max_message_bytes=1 << 20).limits
Input = collection_pb2.PointInput
FILTER = common_pb2.Filter(eq=common_pb2.EqFilter(field="year", value=common_pb2.Value(int_value=7)))


def upsert(*points: Input) -> collection_pb2.UpsertPointsRequest:
    return collection_pb2.UpsertPointsRequest(points=points)


def delete(**fields) -> collection_pb2.DeletePointsRequest:
    return collection_pb2.DeletePointsRequest(**fields)


def test_a_point_keeps_where_its_source_is():
    [point] = read_points(upsert(Input(id="a", text="a", source_uri="s3://bucket/a.txt")), spec(), LIMITS)
    assert point.source_uri == "s3://bucket/a.txt"


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (Input(id="a"), "source"),
        (Input(id="a", text="a", source_uri="é" * 1_025), "source_uri"),
        (Input(id="a", text="a", payload={"nope": common_pb2.Value(int_value=1)}), 'payload["nope"]'),
        (Input(id="", text="a"), "id"),
    ],
)
def test_a_bad_point_is_put_aside_with_its_field(bad, field):
    points = read_points(upsert(bad, Input(id="good", text="a")), spec(), LIMITS)
    assert isinstance(points[0], ClipserveError)
    assert points[0].field == field
    assert points[1].id == "good"


def test_one_id_twice_is_refused_as_a_whole():
    with pytest.raises(InvalidInput) as caught:
        read_points(upsert(*[Input(id="a", text="a")] * 2), spec(), LIMITS)
    assert caught.value.field == "points[1].id"


def test_deletions_are_by_ids_or_by_filter():
    assert read_deletion(delete(ids=["a"]), spec(), LIMITS) == ["a"]
    assert read_deletion(delete(filter=FILTER), spec(), LIMITS) == Eq("year", 7)
    for neither in (delete(), delete(ids=["a"], filter=FILTER)):
        with pytest.raises(InvalidInput) as caught:
            read_deletion(neither, spec(), LIMITS)
        assert caught.value.field == "ids"


def test_a_stored_point_is_written_with_what_was_asked_for():
    vector = np.array([0, 1], np.float32)
    written = write_point(Point("a", {"year": 1}, vector, Source("image", b"png"), "s3://bucket/a.png"))
    assert (written.image_content, written.source_uri) == (b"png", "s3://bucket/a.png")
    assert written.embedding.float32_le == vector.tobytes()
    assert write_point(Point("a", {}, None, Source("text", "é".encode()))).text == "é"
    bare = write_point(Point("a", {}))
    assert not bare.HasField("embedding")
    assert bare.WhichOneof("source") is None


def test_pages_are_cut_where_a_message_ends_and_the_next_begins_there():
    points = [Point(f"{i}", {"kind": "x" * 100_000}) for i in range(30)]
    page = write_scroll(Page(points, False), spec(), LIMITS)
    assert page.ByteSize() <= LIMITS.max_message_bytes
    assert 1 < len(page.points) < 30
    assert page.next_page_token
    last = write_scroll(Page(points[-1:], False), spec(), LIMITS)
    assert (len(last.points), last.next_page_token) == (1, "")
    assert write_scroll(Page(points[:1], True), spec(), LIMITS).next_page_token
