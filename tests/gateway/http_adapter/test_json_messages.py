"""JSON becomes messages as json_format reads it, only more strictly, and messages become JSON."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2, labels_pb2
from clipserve_gateway.errors import InvalidInput, LimitExceeded
from clipserve_gateway.http_adapter.json_messages import message_of, read_message, write_message
from clipserve_gateway.settings import Settings
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

LIMITS = Settings().limits
RPCS = [
    rpc
    for file in (clip_pb2, collection_pb2, labels_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for rpc in service.methods
]
TYPES = sorted({kind.full_name: kind for rpc in RPCS for kind in (rpc.input_type, rpc.output_type)}.items())
SCALARS: dict[int, list[Any]] = {
    FieldDescriptor.TYPE_STRING: ["", "a", 'é"\\\n\x00', "\U0001f600", "x" * 300],
    FieldDescriptor.TYPE_BYTES: [b"", b"a", b"\xfb\xff\xfe", bytes(range(256))],
    FieldDescriptor.TYPE_BOOL: [True, False],
    FieldDescriptor.TYPE_INT32: [0, 1, -(2**31), 2**31 - 1],
    FieldDescriptor.TYPE_INT64: [0, -1, -(2**63), 2**63 - 1],
    FieldDescriptor.TYPE_UINT32: [0, 1, 2**32 - 1],
    FieldDescriptor.TYPE_UINT64: [0, 1, 2**64 - 1],
    FieldDescriptor.TYPE_FLOAT: [0.0, 1.5, -3.4e38, 1e-45, float("inf")],
    FieldDescriptor.TYPE_DOUBLE: [0.0, 0.1, -1.7976931348623157e308, 5e-324, float("-inf")],
}


def filled(kind: Descriptor, chance: random.Random, depth: int = 0) -> Message:
    """A message with about half of its fields set by chance."""
    message = GetMessageClass(kind)()
    if kind.full_name == "google.protobuf.Timestamp":
        message.FromMilliseconds(chance.randrange(-(10**12), 10**13))
        return message
    for field in kind.fields:
        if chance.random() < 0.5 or (field.message_type and depth > 4):
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"].message_type
            for key in ("a", "é", ""):
                getattr(message, field.name)[key].CopyFrom(filled(value, chance, depth + 1))
        elif field.is_repeated:
            for _ in range(chance.randrange(4)):
                if field.message_type:
                    getattr(message, field.name).append(filled(field.message_type, chance, depth + 1))
                else:
                    getattr(message, field.name).append(scalar(field, chance))
        elif field.message_type:
            getattr(message, field.name).CopyFrom(filled(field.message_type, chance, depth + 1))
        else:
            setattr(message, field.name, scalar(field, chance))
    return message


def scalar(field: FieldDescriptor, chance: random.Random) -> Any:
    if field.enum_type:
        return chance.choice(field.enum_type.values).number
    return chance.choice(SCALARS[field.type])


def samples(kind: Descriptor) -> Iterator[Message]:
    for seed in range(12):
        yield filled(kind, random.Random(f"{kind.full_name} {seed}"))


@pytest.mark.parametrize(("name", "kind"), TYPES)
@pytest.mark.parametrize("names", ["lowerCamelCase", "as in the proto"])
def test_all_that_json_format_writes_is_read(name: str, kind: Descriptor, names: str):
    for message in samples(kind):
        document = json_format.MessageToDict(message, preserving_proto_field_name=names != "lowerCamelCase")
        assert message_of(type(message), document, LIMITS) == message


@pytest.mark.parametrize(("name", "kind"), TYPES)
def test_json_format_reads_all_that_is_written(name: str, kind: Descriptor):
    for message in samples(kind):
        for answer in (message, message.SerializeToString()):
            written = write_message(answer, type(message), LIMITS)
            assert json_format.Parse(written, type(message)()) == message


def test_defaults_are_written_and_what_is_absent_is_not():
    answer = clip_pb2.ClassifyResponse(
        results=[clip_pb2.ClassifyResult(scores=[clip_pb2.LabelScore(label="a", index=0, cosine=0.0)])]
    )
    document = json.loads(write_message(answer, clip_pb2.ClassifyResponse, LIMITS))
    assert document["results"] == [{"scores": [{"label": "a", "index": 0, "cosine": 0.0}]}]
    assert document["warnings"] == []
    answer.results[0].scores[0].probability = 0.0
    document = json.loads(write_message(answer, clip_pb2.ClassifyResponse, LIMITS))
    assert document["results"][0]["scores"][0]["probability"] == 0.0


def test_an_answer_that_is_too_large_for_json_names_the_ways_out():
    answer = clip_pb2.EmbedResponse(
        results=[
            clip_pb2.EmbedResult(embedding=common_pb2.Embedding(float32_le=bytes(LIMITS.max_json_bytes)))
        ]
    )
    with pytest.raises(LimitExceeded, match="application/proto"):
        write_message(answer, clip_pb2.EmbedResponse, LIMITS)


def test_the_api_has_only_messages_that_the_reader_knows():
    known = {"google.protobuf.Timestamp"}
    seen: dict[str, Descriptor] = {}

    def visit(kind: Descriptor) -> None:
        if kind.full_name not in seen:
            seen[kind.full_name] = kind
            for field in kind.fields:
                if field.message_type:
                    visit(field.message_type)

    for _, kind in TYPES:
        visit(kind)
    assert {name for name in seen if name.startswith("google.")} <= known
    for kind in seen.values():
        if kind.GetOptions().map_entry:
            assert kind.fields_by_name["key"].type == FieldDescriptor.TYPE_STRING
            assert kind.fields_by_name["value"].message_type


def read(kind: type[Message], document: Any) -> Message:
    return read_message(kind, json.dumps(document).encode(), LIMITS)


embed = functools.partial(read, clip_pb2.EmbedRequest)
search = functools.partial(read, clip_pb2.SearchRequest)
upsert = functools.partial(read, collection_pb2.UpsertPointsRequest)


@pytest.mark.parametrize(
    ("reader", "document", "field", "words"),
    [
        (embed, [], "", "the request must be a JSON object, not a list"),
        (embed, {"input": []}, "input", "EmbedRequest has model, inputs"),
        (embed, {"inputs": [{"text": "a", "txt": "b"}]}, "inputs[0].txt", "EmbedInput has image, text"),
        (embed, {"inputs": {}}, "inputs", "inputs must be a list, not an object"),
        (embed, {"inputs": [None]}, "inputs[0]", "must be a JSON object, not null"),
        (embed, {"inputs": [{"text": 1}]}, "inputs[0].text", "text must be a string, not a number"),
        (embed, {"inputs": [{"text": "\ud800"}]}, "inputs[0].text", "surrogate"),
        (embed, {"inputs": [{"text": "a", "image": {}}]}, "inputs[0].image", "only one of text and image"),
        (embed, {"raw": "true"}, "raw", "true or false"),
        (embed, {"raw": 1}, "raw", "true or false"),
        (embed, {"format": "FLOAT"}, "format", "EMBEDDING_FORMAT_FLOAT32_LE"),
        (embed, {"format": 1.5}, "format", "integer"),
        (embed, {"format": 1.0}, "format", "an integer without a decimal point"),
        (embed, {"format": "\ud800"}, "format", "surrogate"),
        (embed, {"\ud800": 1}, "\\ud800", "no field"),
        (embed, {"inputs": [{"image": {"content": "%%%%"}}]}, "inputs[0].image.content", "base64"),
        (embed, {"inputs": [{"image": {"content": 5}}]}, "inputs[0].image.content", "a string of base64"),
        (search, {"topK": 1, "top_k": 1}, "top_k", "only one of topK and top_k"),
        (search, {"topK": 1, "top_k": None}, "top_k", "only one of topK and top_k"),
        (search, {"top_k": None, "topK": 1}, "top_k", "only one of top_k and topK"),
        (search, {"topK": 2**31}, "top_k", "from -2147483648 to 2147483647"),
        (search, {"topK": 1.5}, "top_k", "integer"),
        (search, {"topK": "1.0"}, "top_k", "integer"),
        (search, {"topK": True}, "top_k", "an integer, not true"),
        (search, {"topK": " 1"}, "top_k", "an integer"),
        (search, {"scoreThreshold": 1e39}, "score_threshold", "must be from"),
        (search, {"scoreThreshold": "0x10"}, "score_threshold", "a number"),
        (search, {"scoreThreshold": False}, "score_threshold", "a number, not false"),
        (search, {"embedding": {"values": {"values": [1, "x"]}}}, "embedding.values.values[1]", "a number"),
        (search, {"embedding": {"values": {"values": [1e39]}}}, "embedding.values.values[0]", "must be from"),
        (
            search,
            {"embedding": {"values": {"values": [10**399]}}},
            "embedding.values.values[0]",
            "must be from",
        ),
        (upsert, {"points": [{"payload": []}]}, "points[0].payload", "a JSON object"),
        (upsert, {"points": [{"payload": {"a": 5}}]}, "points[0].payload.a", "a JSON object"),
        (upsert, {"points": [{"payload": {"\ud800": {}}}]}, "points[0].payload", "surrogate"),
        (
            upsert,
            {"points": [{"payload": {"a": {"timestampValue": "yesterday"}}}]},
            "points[0].payload.a.timestamp_value",
            "2026-11-30T12:00:00Z",
        ),
        (
            upsert,
            {"points": [{"payload": {"a": {"intValue": 2**63}}}]},
            "points[0].payload.a.int_value",
            "from",
        ),
    ],
)
def test_errors_name_the_field_and_the_rule(reader, document, field, words):
    with pytest.raises(InvalidInput) as refused:
        reader(document)
    assert refused.value.field == field
    assert words in refused.value.message


def test_errors_never_repeat_a_long_value():
    with pytest.raises(InvalidInput) as refused:
        embed({"x" * 10_000: 1})
    assert len(refused.value.message) < 500
    with pytest.raises(InvalidInput) as refused:
        embed({"format": "x" * 10_000})
    assert len(refused.value.message) < 500


def test_null_means_that_a_field_is_not_set():
    assert search({"topK": None, "text": None, "like": "a"}) == clip_pb2.SearchRequest(like="a")


def test_an_empty_message_is_set():
    assert search({"filter": {}}).HasField("filter")


def test_numbers_are_read_from_text_where_protobuf_allows_it():
    assert search({"topK": "7"}).top_k == 7
    assert search({"topK": 7.0}).top_k == 7
    assert search({"scoreThreshold": "-1.5e-1"}).score_threshold == pytest.approx(-0.15)
    assert search({"embedding": {"values": {"values": [1, 2.5, "3"]}}}).embedding.values.values == [1, 2.5, 3]


def nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {"eq": {}}
    for _ in range(depth):
        document = {"negation": document}
    return document


def test_messages_may_nest_as_deep_as_in_protobuf():
    assert search({"filter": nested(90)}).HasField("filter")
    with pytest.raises(InvalidInput, match="too deeply"):
        search({"filter": nested(110)})


def test_a_message_has_as_many_fields_as_in_protobuf():
    with pytest.raises(LimitExceeded) as refused:
        embed({"inputs": [{}] * 130_000})
    assert (refused.value.field, refused.value.reason) == ("inputs", "LIMIT_EXCEEDED")


def test_numbers_of_a_list_are_not_counted_as_fields():
    values = [0.5] * 200_000
    assert len(search({"embedding": {"values": {"values": values}}}).embedding.values.values) == 200_000


def test_the_largest_float_is_read_as_it_is_written():
    largest = clip_pb2.SearchRequest(score_threshold=3.4028234663852886e38)
    assert search(json_format.MessageToDict(largest)) == largest
