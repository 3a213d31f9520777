"""Search requests, and the results of the fake server's answers."""

from __future__ import annotations

import numpy as np
import pytest
from client.pictures import png
from clipserve import F, Point, Weighted
from clipserve.messages.search_request import search_request
from clipserve.v1 import clip_pb2

DEFAULTS = {
    "text": None,
    "image": None,
    "embedding": None,
    "like": None,
    "weighted": None,
    "top_k": 10,
    "score_threshold": None,
    "filter": None,
    "with_payload": True,
    "payload_fields": (),
    "fingerprint": "",
    "consistency": None,
    "group_duplicates": False,
}


def request(**kwargs):
    return search_request("things", **(DEFAULTS | kwargs))


def test_every_argument_is_sent():
    message = request(
        like="p1",
        top_k=3,
        score_threshold=0.25,
        filter="year >= 2020",
        with_payload=False,
        payload_fields=["year"],
        fingerprint="f",
        consistency="strong",
        group_duplicates=0.5,
    )
    assert message == clip_pb2.SearchRequest(
        collection="things",
        like="p1",
        top_k=3,
        score_threshold=0.25,
        filter=(F("year") >= 2020).message(),
        omit_payload=True,
        payload_fields=["year"],
        fingerprint="f",
        consistency=clip_pb2.CONSISTENCY_STRONG,
        group_duplicates=True,
        duplicate_threshold=0.5,
    )


def test_what_is_not_said_is_left_to_the_server():
    assert request(text="") == clip_pb2.SearchRequest(collection="things", text="", top_k=10)
    assert request(text="a", group_duplicates=True).duplicate_threshold == 0
    assert request(text="a", group_duplicates=True).group_duplicates
    assert request(text="a", group_duplicates=1.0).duplicate_threshold == 1


def test_parts_keep_their_order_and_weights():
    parts = [
        Weighted(1, text="a"),
        Weighted(-0.5, image=png(1)),
        Weighted(2, embedding=np.ones(4)),
        Weighted(0.25, like="p1"),
    ]
    sent = request(weighted=parts).weighted.parts
    assert [part.weight for part in sent] == [1, -0.5, 2, 0.25]
    assert [part.WhichOneof("part") for part in sent] == ["text", "image", "embedding", "like"]


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({}, TypeError, "exactly one of text, image, embedding, like and weighted"),
        ({"text": "a", "like": "b"}, TypeError, "exactly one"),
        ({"text": "a", "consistency": "eventual"}, ValueError, "'bounded' or 'strong'"),
        ({"text": "a", "payload_fields": "year"}, TypeError, "list of str"),
        ({"text": "a", "group_duplicates": 0.0}, ValueError, "above 0, up to 1"),
        ({"text": "a", "group_duplicates": 1.5}, ValueError, "above 0, up to 1"),
        ({"text": "a", "group_duplicates": float("nan")}, ValueError, "above 0, up to 1"),
        ({"text": "a", "filter": "year = 1"}, ValueError, "column 6"),
        ({"text": "a", "filter": {"year": 1}}, TypeError, "expected a filter"),
        ({"text": "\ud800"}, ValueError, "UTF-8"),
        ({"weighted": ["a"]}, TypeError, r"weighted\[0\] is a clipserve.Weighted"),
        ({"weighted": [Weighted(1)]}, ValueError, r"weighted\[0\] needs exactly one"),
        ({"weighted": [Weighted(1, text="a", like="b")]}, ValueError, "exactly one"),
        (
            {"weighted": [Weighted(1, text="a"), Weighted(0, text="b")]},
            ValueError,
            r"weighted\[1\]: the weight is 0",
        ),
        ({"weighted": [Weighted(float("inf"), text="a")]}, ValueError, "finite"),
    ],
)
def test_searches_that_cannot_be_meant_are_not_sent(kwargs, error, words):
    with pytest.raises(error, match=words):
        request(**kwargs)


def test_weights_come_first_and_sources_by_name():
    with pytest.raises(TypeError):
        Weighted(1, "a")


@pytest.fixture
def many(client):
    """25 images; the first one has three copies."""
    client.create_collection("many", schema={"n": "int"})
    client.upsert("many", [Point(f"p{i}", image=png(i), payload={"n": i}) for i in range(25)])
    client.upsert("many", [Point(f"q{i}", image=png(0), payload={"n": i}) for i in range(3)])
    return "many"


def test_percentiles_are_shares_of_unrelated_pairs(client, many):
    points = list(client.scroll(many, with_embeddings=True))
    matrix = np.stack([point.embedding for point in points])
    pairs = (matrix @ matrix.T)[np.triu_indices(len(points), 1)]
    for hit in client.search(many, like="p7", top_k=5):
        assert hit.percentile == pytest.approx(100 * (pairs < hit.score).mean(), abs=0.5)
    told = {statistics.query: statistics for statistics in client.get_collection(many).score_statistics}
    assert told["image"].pairs == len(pairs)
    assert told["image"].mean == pytest.approx(pairs.mean(), abs=1e-5)
    assert told["image"].p50 <= told["image"].p95 <= told["image"].p99 <= told["image"].p999
    assert set(told) == {"image", "text"}


def test_duplicates_come_with_payload_score_and_percentile(client, many):
    best = client.search(many, image=png(0), group_duplicates=0.9999)[0]
    everyone = (best, *best.duplicates)
    assert {hit.id for hit in everyone} == {"p0", "q0", "q1", "q2"}
    assert all(hit.payload and hit.score > 0.999 and hit.percentile is not None for hit in everyone)
    assert all(hit.duplicates == () for hit in best.duplicates)
