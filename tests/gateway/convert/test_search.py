from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from clipserve.v1 import clip_pb2, common_pb2
from clipserve_gateway.collection.duplicates import Group
from clipserve_gateway.collection.score_statistics import ScoreScale
from clipserve_gateway.collection.search import Like, Part, SearchOutcome
from clipserve_gateway.convert.search import read_search, write_search
from clipserve_gateway.errors import InvalidInput, LimitExceeded
from clipserve_gateway.index.values import Eq, Hit
from clipserve_gateway.settings import Settings

from testing.convert import spec
from testing.domain import SCHEMA

LIMITS = Settings().limits
VECTOR = common_pb2.Embedding(float32_le=np.array([0, 2], "<f4").tobytes())


def request(**fields) -> clip_pb2.SearchRequest:
    return clip_pb2.SearchRequest(collection="pets", **fields)


def weighted(*parts: dict) -> clip_pb2.SearchRequest:
    return request(weighted=clip_pb2.WeightedQuery(parts=[clip_pb2.WeightedPart(**part) for part in parts]))


def test_the_least_that_can_be_asked_gets_the_defaults():
    query = read_search(request(text="a dog"), spec(), LIMITS)
    assert (query.collection, query.parts, query.top_k) == (spec(), (Part("a dog"),), 10)
    assert (query.score_threshold, query.duplicate_threshold) == (None, None)
    assert (query.with_payload, query.consistent, query.kind) == (True, False, "text")
    assert query.filter is None
    assert query.payload_fields == ()


def test_everything_that_can_be_asked_is_read():
    filter = common_pb2.Filter(eq=common_pb2.EqFilter(field="year", value=common_pb2.Value(int_value=7)))
    query = read_search(
        request(
            like="a",
            top_k=3,
            score_threshold=-0.5,
            filter=filter,
            payload_fields=["kind"],
            fingerprint="f",
            consistency=clip_pb2.CONSISTENCY_STRONG,
            group_duplicates=True,
            duplicate_threshold=0.5,
        ),
        spec(),
        LIMITS,
    )
    assert query.parts == (Part(Like("a")),)
    assert (query.top_k, query.score_threshold, query.consistent) == (3, -0.5, True)
    assert (query.duplicate_threshold, query.kind, query.fingerprint) == (0.5, "image", "f")
    assert query.filter == Eq("year", 7)
    assert query.payload_fields == ("kind",)
    assert read_search(request(text="a", group_duplicates=True), spec(), LIMITS).duplicate_threshold == 0.95


def test_parts_carry_their_weights_and_paths():
    parts = read_search(
        weighted({"weight": 2, "text": "a"}, {"weight": -1, "like": "b"}), spec(), LIMITS
    ).parts
    assert parts == (
        Part("a", 2.0, "weighted.parts[0]."),
        Part(Like("b"), -1.0, "weighted.parts[1]."),
    )


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (request(), "query"),
        (request(text="a", top_k=-1), "top_k"),
        (request(text="a", top_k=LIMITS.max_top_k + 1), "top_k"),
        (request(text="a", score_threshold=math.nan), "score_threshold"),
        (request(text="a", consistency=9), "consistency"),
        (request(text="a", omit_payload=True, payload_fields=["kind"]), "payload_fields"),
        (request(text="a", duplicate_threshold=1.5), "duplicate_threshold"),
        (request(text="a", duplicate_threshold=-0.5), "duplicate_threshold"),
        (request(text="a", duplicate_threshold=math.nan), "duplicate_threshold"),
        (request(text="x" * (LIMITS.max_text_bytes + 1)), "text"),
        (request(like=""), "like"),
        (request(like="a\n"), "like"),
        (request(image=common_pb2.Image()), "image.content"),
        (weighted(), "weighted.parts"),
        (weighted(*[{"weight": 1, "text": "a"}] * 17), "weighted.parts"),
        (weighted({"weight": 0, "text": "a"}), "weighted.parts[0].weight"),
        (weighted({"weight": math.inf, "text": "a"}), "weighted.parts[0].weight"),
        (weighted({"weight": 1, "text": "a"}, {"weight": 1}), "weighted.parts[1].part"),
        (weighted({"weight": 1, "image": common_pb2.Image()}), "weighted.parts[0].image.content"),
        (weighted({"weight": 1, "like": ""}), "weighted.parts[0].like"),
        (
            weighted({"weight": 1, "embedding": common_pb2.Embedding(float32_le=b"12345")}),
            "weighted.parts[0].embedding.float32_le",
        ),
    ],
)
def test_a_bad_query_names_the_field(bad, field):
    with pytest.raises(InvalidInput) as caught:
        read_search(bad, spec(), LIMITS)
    assert caught.value.field == field


def test_fields_that_the_schema_has_not_are_named():
    with pytest.raises(InvalidInput, match=", ".join(SCHEMA)) as caught:
        read_search(request(text="a", payload_fields=["kind", "nope"]), spec(), LIMITS)
    assert caught.value.field == "payload_fields[1]"


def outcome(*groups: Group, scale: ScoreScale | None = None) -> SearchOutcome:
    return SearchOutcome(spec(), list(groups), False, scale)


def test_hits_carry_their_duplicates_and_percentiles():
    scale = ScoreScale(0.0, 1.0, np.array([0.0, 0.5, 0.6, 0.7], np.float32))
    group = Group(Hit("a", 0.65, {"year": 1}), (Hit("b", 0.1, {}),))
    response = write_search(outcome(group, scale=scale), LIMITS)
    assert response.model.fingerprint == spec().fingerprint
    [hit] = response.hits
    assert (hit.id, hit.payload["year"].int_value, hit.percentile) == ("a", 1, 75)
    assert [(it.id, it.percentile) for it in hit.duplicates] == [("b", 25)]
    assert response.weak_match
    apart = write_search(outcome(group), LIMITS)
    assert not apart.hits[0].HasField("percentile")
    assert not apart.weak_match


def test_an_answer_too_large_for_a_message_says_what_to_ask_less_of():
    large = Group(Hit("a", 0.5, {"kind": "x" * 1_000_000}))
    with pytest.raises(LimitExceeded) as caught:
        write_search(outcome(*[large] * 70), LIMITS)
    assert caught.value.field == "top_k"


def test_groups_that_may_be_missing_are_told():
    complete = outcome(Group(Hit("a", 0.5, {})))
    assert not write_search(complete, LIMITS).incomplete
    assert write_search(dataclasses.replace(complete, incomplete=True), LIMITS).incomplete
