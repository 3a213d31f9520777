"""Schemas of messages: what the JSON form allows, and nothing that it does not."""

from __future__ import annotations

from typing import Any

import pytest
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from clipserve_gateway.http_adapter.openapi.schemas import EXACTLY_ONE, is_optional, schemas
from google.protobuf import json_format
from google.protobuf.message import Message

from testing.openapi import Description

SENT = [
    clip_pb2.SearchRequest,
    clip_pb2.EmbedRequest,
    collection_pb2.UpsertPointsRequest,
    common_pb2.Embedding,
]
RETURNED = [clip_pb2.SearchResponse, collection_pb2.GetCollectionResponse, common_pb2.Embedding]


@pytest.fixture(scope="module")
def described() -> Description:
    requests, answers = ([kind.DESCRIPTOR for kind in kinds] for kinds in (SENT, RETURNED))
    return Description({"components": {"schemas": schemas(requests, answers)}})


def written(message: Message) -> Any:
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def test_a_request_with_every_kind_of_field_is_valid(described: Description) -> None:
    point = collection_pb2.PointInput(
        id="1", image=common_pb2.Image(content=b"\xff\x00"), source_uri="s3://a/b"
    )
    point.payload["size"].int_value = -(2**63)
    point.payload["ratio"].double_value = 0.5
    point.payload["taken"].timestamp_value.GetCurrentTime()
    point.payload["tags"].string_list.values.append("red")
    request = written(collection_pb2.UpsertPointsRequest(collection="photos", points=[point]))
    assert request["points"][0]["payload"]["size"] == {"intValue": "-9223372036854775808"}
    assert described.request_errors("UpsertPointsRequest", request) == []


@pytest.mark.parametrize("number", [2024, "2024"])
def test_a_request_may_have_a_number_or_a_text_as_a_64_bit_integer(
    described: Description, number: Any
) -> None:
    body = {"points": [{"id": "1", "text": "a", "payload": {"year": {"intValue": number}}}]}
    assert described.request_errors("UpsertPointsRequest", body) == []


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("SearchRequest", {"collection": "photos", "text": "a", "topk": 5}),
        ("SearchRequest", {"collection": "photos", "text": "a", "like": "1"}),
        ("SearchRequest", {"collection": "photos"}),
        ("SearchRequest", {"collection": "photos", "text": "a", "topK": "5"}),
        ("SearchRequest", {"collection": "photos", "text": "a", "consistency": "STRONG"}),
        ("SearchRequest", {"collection": "photos", "text": "a", "filter": {"anyOf": {"filters": [{}]}}}),
        ("EmbedRequest", {"inputs": {"text": "a"}}),
        ("EmbedRequest", {"inputs": [{"text": "a", "image": {"content": "AA=="}}]}),
        ("EmbedRequest", {"inputs": [{"image": {"raw": {"width": -1}}}]}),
        (
            "UpsertPointsRequest",
            {"points": [{"id": "1", "text": "a", "payload": {"n": {"intValue": "1.5"}}}]},
        ),
        ("UpsertPointsRequest", {"points": [{"text": "a", "payload": {"n": {"timestampValue": "today"}}}]}),
        ("UpsertPointsRequest", {"points": [{"text": "a", "keptText": "a", "keptImage": {"content": ""}}]}),
    ],
)
def test_what_the_server_refuses_is_invalid(described: Description, name: str, body: Any) -> None:
    assert described.request_errors(name, body)


def test_a_oneof_that_may_be_empty_may_be_empty(described: Description) -> None:
    assert described.answer_errors("Collection", written(collection_pb2.Collection(name="a"))) == []
    body = {"points": [{"id": "1", "text": "a"}]}
    assert described.request_errors("UpsertPointsRequest", body) == []


def test_an_answer_with_optional_and_nested_fields_is_valid(described: Description) -> None:
    hit = clip_pb2.SearchHit(id="1", score=0.5, percentile=99.5, duplicates=[clip_pb2.SearchHit(id="2")])
    hit.payload["year"].int_value = 2024
    answer = written(clip_pb2.SearchResponse(hits=[hit]))
    assert "percentile" not in answer["hits"][0]["duplicates"][0]
    assert described.answer_errors("SearchResponse", answer) == []


def test_an_answer_has_all_fields_that_cannot_be_absent(described: Description) -> None:
    assert described.answer_errors("SearchResponse", {"hits": []})
    assert described.answer_errors("SearchResponse", written(clip_pb2.SearchResponse())) == []


def test_an_answer_may_get_new_fields_and_a_request_may_not(described: Description) -> None:
    answer = written(clip_pb2.SearchResponse()) | {"new": 1}
    assert described.request_errors("SearchResponse", answer) == []
    assert described.answer_errors("SearchResponse", answer)


def test_every_oneof_says_whether_it_may_be_empty() -> None:
    """The schema depends on this sentence."""
    files = [module.DESCRIPTOR for module in (common_pb2, clip_pb2, collection_pb2)]
    oneofs = [
        oneof
        for file in files
        for message in file.message_types_by_name.values()
        for oneof in message.oneofs
        if not is_optional(oneof)
    ]
    required = {
        f"{oneof.containing_type.name}.{oneof.name}" for oneof in oneofs if EXACTLY_ONE in text(oneof)
    }
    others = {f"{oneof.containing_type.name}.{oneof.name}" for oneof in oneofs} - required
    assert {"Image.source", "Embedding.data", "SearchRequest.query", "PointInput.source"} <= required
    assert others == {"Point.source", "PointInput.kept_source"}


def text(oneof: Any) -> str:
    from clipserve_gateway.http_adapter.openapi.comments import comment

    return comment(f"{oneof.containing_type.full_name}.{oneof.name}")
