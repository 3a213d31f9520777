"""Calls over HTTP in the form of the Connect protocol."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
from typing import Any

import httpx
import pytest
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.http_adapter.call import GZIP_BYTES
from google.protobuf import any_pb2
from google.rpc import error_details_pb2

from testing.callers import secret
from testing.hostile.files import saved
from tests.gateway.http_adapter.conftest import EMBED, JSON, Api, Start

TEXTS = {"inputs": [{"text": "a dog"}, {"text": "a cat"}]}
PROTO = {"content-type": "application/proto"}
REQUEST = clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text=text) for text in ("a dog", "a cat")])


def details(answer: httpx.Response) -> dict[str, Any]:
    """The details of an error by the last name of their type, as a client decodes them."""
    found = {}
    for detail in answer.json().get("details", []):
        kind = getattr(error_details_pb2, detail["type"].removeprefix("google.rpc."))
        value = base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4), validate=True)
        found[kind.__name__] = kind.FromString(value)
    return found


def refusal(answer: httpx.Response) -> tuple[int, str, str, list[str]]:
    """Status, code, reason and fields."""
    found = details(answer)
    fields = (
        [violation.field for violation in found["BadRequest"].field_violations]
        if "BadRequest" in found
        else []
    )
    return answer.status_code, answer.json()["code"], found["ErrorInfo"].reason, fields


async def test_json_and_protobuf_get_the_same_answer(api: Api):
    answer = await api.call("ClipService/Embed", TEXTS)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    binary = await api.http.post(EMBED, content=REQUEST.SerializeToString(), headers=PROTO)
    assert (binary.status_code, binary.headers["content-type"]) == (200, "application/proto")
    expected = clip_pb2.EmbedResponse.FromString(binary.content)
    assert [base64.b64decode(result["embedding"]["float32Le"]) for result in answer.json()["results"]] == [
        result.embedding.float32_le for result in expected.results
    ]
    assert answer.json()["model"]["embedDim"] == 8


async def test_names_may_be_those_of_the_proto(api: Api):
    await api.call("CollectionService/CreateCollection", {"name": "pets"})
    for name in ("topK", "top_k"):
        answer = await api.call("ClipService/Search", {"collection": "pets", "text": "a", name: 3})
        assert (answer.status_code, answer.json()["hits"]) == (200, [])


async def test_answers_that_handlers_encode_become_json(api: Api):
    await api.call("CollectionService/CreateCollection", {"name": "pets"})
    points = [{"id": f"p{i}", "text": f"pet {i}"} for i in range(3)]
    assert (
        await api.call("CollectionService/UpsertPoints", {"collection": "pets", "points": points})
    ).is_success
    found = await api.call("ClipService/Search", {"collection": "pets", "text": "pet 1", "topK": 1})
    assert found.json()["hits"][0]["id"] == "p1"
    scrolled = await api.call("CollectionService/ScrollPoints", {"collection": "pets"})
    assert [point["id"] for point in scrolled.json()["points"]] == ["p0", "p1", "p2"]
    counted = await api.call("CollectionService/CountPoints", {"collection": "pets"})
    assert counted.json() == {"count": "3"}


async def test_headers_name_the_request_and_its_stages_twice(api: Api):
    answer = await api.call("ClipService/Embed", TEXTS, headers={"x-request-id": "r-1"})
    assert answer.headers["x-request-id"] == answer.headers["trailer-x-request-id"] == "r-1"
    assert "tokenize;dur=" in answer.headers["clipserve-timing"]
    assert answer.headers["trailer-clipserve-timing"] == answer.headers["clipserve-timing"]


async def test_a_call_is_counted_logged_and_gives_back_its_room(api: Api, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "clipserve.access")
    assert (await api.call("ClipService/Embed", TEXTS)).is_success
    [line] = [record.fields for record in caplog.records if record.name == "clipserve.access"]
    assert (line["method"], line["code"], line["items"]) == ("Embed", "OK", 2)
    labels = {"method": "Embed", "code": "OK", "model": "fake"}
    assert api.parts.metrics.registry.get_sample_value("clipserve_requests_total", labels) == 1
    await api.released()


@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [
        ("ClipService/Embed", {"inputs": []}, (400, "invalid_argument", "INVALID_INPUT", ["inputs"])),
        ("ClipService/Embed", {**TEXTS, "model": "x"}, (404, "not_found", "MODEL_NOT_FOUND", ["model"])),
        ("ClipService/Embed", {"text": "a"}, (400, "invalid_argument", "INVALID_INPUT", ["text"])),
        ("ClipService/Embed", b"{", (400, "invalid_argument", "INVALID_INPUT", [])),
        ("ClipService/Embed", b"", (400, "invalid_argument", "INVALID_INPUT", [])),
        ("ClipService/EmbedStream", {}, (501, "unimplemented", "NOT_SUPPORTED", [])),
        ("CollectionService/UpsertPointsStream", {}, (501, "unimplemented", "NOT_SUPPORTED", [])),
        ("ClipService/Nothing", {}, (404, "unimplemented", "NOT_SUPPORTED", [])),
        ("Nothing/Embed", {}, (404, "unimplemented", "NOT_SUPPORTED", [])),
        ("ClipService/../ClipService/Embed", {}, (404, "unimplemented", "NOT_SUPPORTED", [])),
        ("ClipService%2FEmbed", TEXTS, (404, "unimplemented", "NOT_SUPPORTED", [])),
        ("ClipService%2fEmbed", TEXTS, (404, "unimplemented", "NOT_SUPPORTED", [])),
        ("ClipService/%2e%2e/%2e%2e/etc/passwd", {}, (404, "unimplemented", "NOT_SUPPORTED", [])),
    ],
)
async def test_errors_have_status_code_reason_and_field(api: Api, method, body, expected):
    answer = await api.call(method, body)
    assert answer.headers["content-type"] == "application/json"
    assert refusal(answer) == expected


async def test_errors_of_items_are_in_the_answer(api: Api):
    broken = base64.b64encode(b"no picture").decode()
    answer = await api.call("ClipService/Embed", {"inputs": [{"image": {"content": broken}}, {"text": "a"}]})
    bad, good = answer.json()["results"]
    assert (bad["status"]["reason"], bad["status"]["field"]) == (
        "IMAGE_UNREADABLE",
        "inputs[0].image.content",
    )
    assert good["status"]["code"] == 0


async def test_a_detail_is_shown_readably_too(api: Api):
    answer = await api.call("ClipService/Embed", {"inputs": []})
    [info, bad] = answer.json()["details"]
    assert info["debug"] == {"reason": "INVALID_INPUT", "domain": "clipserve"}
    assert bad["debug"]["fieldViolations"][0]["field"] == "inputs"
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason="INVALID_INPUT", domain="clipserve"))
    assert info["value"] == base64.b64encode(packed.value).decode().rstrip("=")


@pytest.mark.parametrize(
    "kind",
    [
        *("application/json; v=1; charset=latin-1", "application/json; charset=utf-8; charset=utf-16"),
        *("", "text/plain", "application/json; charset=latin-1", "application/connect+json"),
        *("application/grpc-web+proto", "application/x-www-form-urlencoded", "multipart/form-data"),
    ],
)
async def test_other_content_types_are_refused(api: Api, kind: str):
    answer = await api.call("ClipService/Embed", TEXTS, headers={"content-type": kind})
    assert refusal(answer) == (415, "unimplemented", "NOT_SUPPORTED", ["content-type"])


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", 'Application/JSON;v=1; charset="UTF-8"'])
async def test_a_content_type_may_name_its_charset(api: Api, kind: str):
    assert (await api.call("ClipService/Embed", TEXTS, headers={"content-type": kind})).is_success


@pytest.mark.parametrize("version", ["", "2"])
async def test_other_versions_of_the_protocol_are_refused(api: Api, version: str):
    answer = await api.call("ClipService/Embed", TEXTS, headers={"connect-protocol-version": version})
    assert refusal(answer) == (400, "invalid_argument", "INVALID_INPUT", ["connect-protocol-version"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE"])
async def test_calls_are_made_by_post(api: Api, method: str):
    answer = await api.http.request(method, EMBED)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


async def test_options_name_the_method(api: Api):
    answer = await api.http.options(EMBED)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, "POST, OPTIONS", b"")


@pytest.mark.parametrize("headers", [JSON, PROTO])
async def test_bodies_may_be_gzip(api: Api, headers: dict[str, str]):
    body = json.dumps(TEXTS).encode() if headers is JSON else REQUEST.SerializeToString()
    packed = {**headers, "content-encoding": "gzip"}
    answer = await api.http.post(EMBED, content=gzip.compress(body), headers=packed)
    plain = await api.http.post(EMBED, content=body, headers=headers)
    assert (answer.status_code, answer.content) == (200, plain.content)


@pytest.mark.parametrize("size", [0, 32 << 20])
async def test_bodies_that_are_too_large_are_refused(start: Start, size: int):
    api = await start(max_json_bytes=1 << 20)
    bomb = {"content-encoding": "gzip"} if not size else {}
    body = bytes(size) or gzip.compress(bytes(32 << 20))
    answer = await api.call("ClipService/Embed", body, headers=bomb)
    assert refusal(answer) == (413, "invalid_argument", "LIMIT_EXCEEDED", [])
    await api.released()


async def test_protobuf_has_the_limit_of_grpc(start: Start):
    api = await start(max_json_bytes=1 << 20)
    image = common_pb2.Image(content=saved("PNG", size=(8, 8)) + bytes(2 << 20))
    request = clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(image=image)])
    answer = await api.http.post(EMBED, content=request.SerializeToString(), headers=PROTO)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("gzip", "gzip"),
        ("br, gzip;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("gzip; q=0.0", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_large_answers_are_compressed_if_the_client_takes_it(
    api: Api, accept: str, encoding: str | None
):
    inputs = [{"text": f"a dog {i}"} for i in range(256)]
    answer = await api.call("ClipService/Embed", {"inputs": inputs}, headers={"accept-encoding": accept})
    assert answer.headers.get("content-encoding") == encoding
    assert len(answer.content) > GZIP_BYTES
    assert len(answer.json()["results"]) == 256


async def test_small_answers_are_not_compressed(api: Api):
    answer = await api.call("ClipService/Embed", TEXTS, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("value", ["", "-1", "1.5", "soon", "12345678901", "１"])
async def test_a_timeout_is_a_number_of_milliseconds(api: Api, value: str):
    answer = await api.call("ClipService/Embed", TEXTS, headers={b"connect-timeout-ms": value.encode()})
    assert refusal(answer) == (400, "invalid_argument", "INVALID_INPUT", ["connect-timeout-ms"])


@pytest.mark.parametrize("name", ["connect-timeout-ms", "content-encoding", "connect-protocol-version"])
async def test_a_header_that_stands_twice_is_refused(api: Api, name: str):
    value = "identity" if name == "content-encoding" else "1"
    headers = [*JSON.items(), (name, value), (name, value)]
    answer = await api.http.post(EMBED, json=TEXTS, headers=headers)
    assert refusal(answer) == (400, "invalid_argument", "INVALID_INPUT", [name])


async def test_two_content_types_are_refused(api: Api):
    headers = [*JSON.items(), *JSON.items()]
    answer = await api.http.post(EMBED, content=b"{}", headers=headers)
    assert refusal(answer) == (415, "unimplemented", "NOT_SUPPORTED", ["content-type"])


@pytest.mark.parametrize("milliseconds", ["0", "50"])
async def test_a_deadline_ends_the_call(api: Api, milliseconds: str):
    api.parts.backend.encoder.delay = 60
    answer = await api.call("ClipService/Embed", TEXTS, headers={"connect-timeout-ms": milliseconds})
    assert refusal(answer)[:3] == (504, "deadline_exceeded", "DEADLINE_EXCEEDED")
    await api.released()


async def test_calls_without_a_deadline_have_the_servers(start: Start):
    api = await start(default_timeout_seconds=0.05)
    api.parts.backend.encoder.delay = 60
    answer = await api.call("ClipService/Embed", TEXTS)
    assert refusal(answer)[:3] == (504, "deadline_exceeded", "DEADLINE_EXCEEDED")
    assert "calls without a deadline" in answer.json()["message"]


async def test_an_overloaded_server_says_when_to_try_again(start: Start):
    api = await start(max_inflight_items=2)
    api.parts.backend.encoder.delay = 60
    first = asyncio.create_task(api.call("ClipService/Embed", TEXTS))
    while not api.parts.backend.encoder.text_batches:
        await asyncio.sleep(0)
    answer = await api.call("ClipService/Embed", TEXTS)
    first.cancel()
    assert refusal(answer)[:3] == (429, "resource_exhausted", "OVERLOADED")
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("1", "500")
    assert details(answer)["RetryInfo"].retry_delay.ToMilliseconds() == 500


@pytest.mark.parametrize("milliseconds", ["0", "50"])
async def test_a_call_that_waits_for_room_until_its_deadline_learns_when_to_come_again(
    api: Api, milliseconds: str
):
    budget = api.parts.intake.budget
    hold = await budget.hold(budget.room, "another", Deadline.after(1))
    headers = {"connect-timeout-ms": milliseconds}
    answer = await api.call("ClipService/Embed", b" " * (2 << 20), headers=headers)
    assert refusal(answer)[:3] == (429, "resource_exhausted", "OVERLOADED")
    assert details(answer)["RetryInfo"].retry_delay.ToMilliseconds() == 1000
    hold.release()
    await api.released()


async def test_a_fault_says_nothing_of_its_cause(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(api.parts.models), "get", lambda *_: 1 / 0)
    answer = await api.call("ClipService/Embed", TEXTS)
    assert refusal(answer) == (500, "internal", "INTERNAL", [])
    assert "division" not in answer.text


async def test_a_token_is_asked_for_before_the_body_is_read(start: Start):
    api = await start("web methods=Embed")
    read = []

    async def body():
        read.append(1)
        yield b"{}"

    answer = await api.http.post(EMBED, content=body(), headers=JSON)
    assert refusal(answer) == (401, "unauthenticated", "UNAUTHENTICATED", [])
    assert (answer.headers["www-authenticate"], read) == ("Bearer", [])
    bearer = {"authorization": f"Bearer {secret('web')}"}
    assert (await api.call("ClipService/Embed", TEXTS, headers=bearer)).is_success
    denied = await api.call("CollectionService/ListAliases", {}, headers=bearer)
    assert refusal(denied)[:3] == (403, "permission_denied", "PERMISSION_DENIED")


async def test_a_request_that_is_cancelled_cancels_its_call(api: Api, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "clipserve.access")
    encoder = api.parts.backend.encoder
    encoder.delay = 60
    request = asyncio.create_task(api.call("ClipService/Embed", TEXTS))
    while not encoder.text_batches:
        await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    lines = [record.fields for record in caplog.records if record.name == "clipserve.access"]
    assert [line["code"] for line in lines] == ["CANCELLED"]
    while not encoder.cancelled:
        await asyncio.sleep(0)
    await api.released()


async def test_a_large_body_is_read_off_the_event_loop(api: Api):
    await api.call("CollectionService/CreateCollection", {"name": "pets"})
    payload = {"tags": {"stringList": {"values": ["x"] * 40}}}
    points = [{"id": str(i), "text": "a", "payload": payload} for i in range(200)]
    request = collection_pb2.UpsertPointsRequest(collection="pets")
    answer = await api.call(
        "CollectionService/UpsertPoints", {"collection": request.collection, "points": points}
    )
    assert len(answer.json()["statuses"]) == 200
    assert {status["reason"] for status in answer.json()["statuses"]} == {"PAYLOAD_INVALID"}
