"""A second protocol, JSON messages in memory, runs the same calls and servicers as gRPC."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clipserve_gateway.access.call import Call
from clipserve_gateway.assembly import Parts, assemble
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.settings import Settings
from google.protobuf import json_format
from google.protobuf.message import Message

from testing.callers import secret, write_tokens
from testing.fakes import FakeBackend

EMBED = {"inputs": [{"text": "a dog"}, {"text": "a cat"}]}


class JsonTransport:
    """Carries messages as JSON."""

    def __init__(self, bodies: Iterable[Any]) -> None:
        self._bodies = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
        self.received = 0

    async def receive(self) -> bytes | None:
        self.received += 1
        return self._bodies.pop(0) if self._bodies else None

    async def parse(self, kind: type[Message], data: bytes) -> Message:
        try:
            return json_format.Parse(data, kind())
        except json_format.ParseError as error:
            raise InvalidInput(f"the request is not valid JSON for {kind.DESCRIPTOR.name}") from error

    async def encode(self, answer: Message | bytes) -> bytes:
        assert isinstance(answer, Message)
        return json_format.MessageToJson(answer).encode()


@dataclass
class Answer:
    """What the adapter would send."""

    code: str
    body: Any = None
    failure: Any = None
    trailers: dict[str, str] | None = None
    received: int = 0


class JsonAdapter:
    """All that a second protocol adds to a gateway."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._methods = {method.name: method for method in parts.methods}

    def call(self, name: str, seconds: float | None, headers: dict[str, str]) -> Call:
        deadline = None if seconds is None else Deadline.after(seconds)
        method = self._methods[name]
        return Call(name, "ipv4:192.0.2.1:5", list(headers.items()), deadline, streaming=method.streaming)

    def post(self, name: str, body: Any, seconds: float | None = 10, **headers: str) -> asyncio.Task[Answer]:
        call = self.call(name, seconds, {key.replace("_", "-"): value for key, value in headers.items()})
        return asyncio.create_task(self._serve(call, JsonTransport([body])))

    async def _serve(self, call: Call, transport: JsonTransport) -> Answer:
        async with self.parts.runner.running(call) as outcome:
            answer = await self.parts.runner.answer(call, self._methods[call.method], transport)
            return Answer("OK", json.loads(answer), trailers=dict(outcome.trailers))
        return Answer(outcome.code, None, outcome.failure, dict(outcome.trailers), transport.received)

    async def stream(self, name: str, bodies: Iterable[Any]) -> list[Any]:
        call = self.call(name, None, {})
        async with self.parts.runner.running(call):
            answers = self.parts.runner.answers(call, self._methods[name], JsonTransport(bodies))
            return [json.loads(answer) async for answer in answers]
        raise AssertionError("the stream failed")


Start = Callable[..., Awaitable[JsonAdapter]]


@pytest.fixture
async def start(tmp_path: Path) -> Start:
    """Builds a gateway that listens nowhere, with tokens where lines of a token file are given."""

    async def start(*lines: str, **settings: Any) -> JsonAdapter:
        if lines:
            settings["token_file"] = str(write_tokens(tmp_path, *lines))
        parts = assemble(Settings(data=str(tmp_path / "data"), **settings), FakeBackend())
        await parts.models.refresh()
        return JsonAdapter(parts)

    return start


def bearer(name: str) -> str:
    return f"Bearer {secret(name)}"


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.fields for record in caplog.records if record.name == "clipserve.access"]


def sample(adapter: JsonAdapter, name: str, **labels: str) -> float | None:
    return adapter.parts.metrics.registry.get_sample_value(name, labels)


async def test_a_handler_answers_and_the_call_is_logged(start: Start, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "clipserve.access")
    adapter = await start()
    answer = await adapter.post("Embed", EMBED, x_request_id="r-1")
    assert answer.code == "OK"
    assert [bool(result["embedding"]) for result in answer.body["results"]] == [True, True]
    assert answer.trailers is not None
    assert answer.trailers["x-request-id"] == "r-1"
    assert "tokenize;dur=" in answer.trailers["clipserve-timing"]
    (line,) = lines(caplog)
    assert (line["request_id"], line["method"], line["code"], line["items"]) == ("r-1", "Embed", "OK", 2)
    assert sample(adapter, "clipserve_inflight_items", lane="interactive") == 0
    await released(adapter)


async def released(adapter: JsonAdapter) -> None:
    """Waits until all calls have given back their room, which they do when their task ends."""
    while adapter.parts.intake.budget.used or len(adapter.parts.intake.calls):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("body", "code", "reason", "field"),
    [
        ({"inputs": []}, "INVALID_ARGUMENT", "INVALID_INPUT", "inputs"),
        ({**EMBED, "model": "other"}, "NOT_FOUND", "MODEL_NOT_FOUND", "model"),
        (b"{", "INVALID_ARGUMENT", "INVALID_INPUT", ""),
    ],
)
async def test_errors_of_handlers_have_their_code(start: Start, body, code, reason, field):
    adapter = await start()
    answer = await adapter.post("Embed", body)
    assert (answer.code, answer.failure.reason, answer.failure.field) == (code, reason, field)
    assert sample(adapter, "clipserve_requests_total", method="Embed", code=code, model="") == 1


async def test_a_fault_is_internal_and_says_nothing(start: Start, monkeypatch: pytest.MonkeyPatch):
    adapter = await start()
    monkeypatch.setattr(type(adapter.parts.models), "get", lambda *_: 1 / 0)
    answer = await adapter.post("Embed", EMBED)
    assert (answer.code, answer.failure) == ("INTERNAL", None)


async def test_a_call_without_a_token_is_refused_before_its_message_is_read(start: Start, tmp_path: Path):
    adapter = await start("web methods=Embed", audit_log=str(tmp_path / "audit"))
    refused = await adapter.post("Embed", EMBED)
    assert (refused.code, refused.received) == ("UNAUTHENTICATED", 0)
    denied = await adapter.post("ListAliases", {}, authorization=bearer("web"))
    assert (denied.code, denied.received) == ("PERMISSION_DENIED", 0)
    assert (await adapter.post("Embed", EMBED, authorization=bearer("web"))).code == "OK"
    audit = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert [(line["method"], line["outcome"]) for line in audit] == [
        ("Embed", "UNAUTHENTICATED"),
        ("ListAliases", "PERMISSION_DENIED"),
    ]


async def test_a_token_allows_the_names_that_match_and_no_others(start: Start):
    adapter = await start("ops", "shop collections=shop_*")
    for name in ("shop_pets", "secret"):
        created = await adapter.post("CreateCollection", {"name": name}, authorization=bearer("ops"))
        assert created.code == "OK"
    allowed = await adapter.post("CountPoints", {"collection": "shop_pets"}, authorization=bearer("shop"))
    assert (allowed.code, allowed.body) == ("OK", {})
    denied = await adapter.post("CountPoints", {"collection": "secret"}, authorization=bearer("shop"))
    assert (denied.code, denied.failure.metadata) == ("PERMISSION_DENIED", {"collection": "secret"})
    listed = await adapter.post("ListCollections", {}, authorization=bearer("shop"))
    assert [collection["name"] for collection in listed.body["collections"]] == ["shop_pets"]


async def test_a_token_is_kept_to_its_rate(start: Start):
    adapter = await start("web rate=0.001 burst=2")
    assert (await adapter.post("Embed", EMBED, authorization=bearer("web"))).code == "OK"
    limited = await adapter.post("Embed", EMBED, authorization=bearer("web"))
    assert (limited.code, limited.failure.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
    assert limited.failure.retry_after > 0


async def test_a_deadline_ends_the_work(start: Start):
    adapter = await start(default_timeout_seconds=0.05)
    adapter.parts.backend.encoder.delay = 60
    for seconds in (0.0, None):
        answer = await adapter.post("Embed", EMBED, seconds)
        assert answer.code == "DEADLINE_EXCEEDED"


async def test_calls_without_room_are_refused_and_lanes_have_their_own(start: Start):
    adapter = await start(max_inflight_items=4)
    encoder = adapter.parts.backend.encoder
    encoder.delay = 60
    first = adapter.post("Embed", EMBED)
    bulk = adapter.post("Embed", EMBED, x_clipserve_priority="bulk")
    while len(encoder.text_batches) < 1 or not sample(adapter, "clipserve_inflight_items", lane="bulk"):
        await asyncio.sleep(0)
    assert sample(adapter, "clipserve_inflight_items", lane="interactive") == 2
    refused = await adapter.post("Embed", EMBED)
    assert (refused.code, refused.failure.metadata) == ("RESOURCE_EXHAUSTED", {"limit": "items"})
    unknown = await adapter.post("Embed", EMBED, x_clipserve_priority="urgent")
    assert (unknown.code, unknown.failure.field) == ("INVALID_ARGUMENT", "x-clipserve-priority")
    for task in (first, bulk):
        task.cancel()
    await asyncio.wait({first, bulk})


async def test_a_cancelled_call_ends_its_work_and_gives_back_all_room(
    start: Start, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "clipserve.access")
    adapter = await start()
    encoder = adapter.parts.backend.encoder
    encoder.delay = 60
    task = adapter.post("Embed", EMBED)
    while not encoder.text_batches:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await released(adapter)
    assert [line["code"] for line in lines(caplog)] == ["CANCELLED"]
    assert sample(adapter, "clipserve_dropped_total", stage="encode", reason="cancelled") == 1
    assert sample(adapter, "clipserve_inflight_items", lane="interactive") == 0
    while not encoder.cancelled:
        await asyncio.sleep(0)


async def test_a_stream_answers_each_message_and_outlives_refused_ones(start: Start):
    adapter = await start()
    answers = await adapter.stream(
        "EmbedStream", [{"batchId": 1, "request": EMBED}, {"batchId": 2}, {"batchId": 3, "request": EMBED}]
    )
    assert [answer["batchId"] for answer in answers] == ["1", "2", "3"]
    assert [answer.get("status", {}).get("reason") for answer in answers] == [None, "INVALID_INPUT", None]


WITHOUT_GRPC = """
import sys
sys.modules["grpc"] = None
import clipserve_gateway.calls.runner
import clipserve_gateway.servicers.clip, clipserve_gateway.servicers.collections
import clipserve_gateway.servicers.labels, clipserve_gateway.servicers.migrations
import clipserve_gateway.servicers.points
assert not [name for name in sys.modules if name.startswith("grpc.") or name.startswith("grpc_")]
"""


def test_the_runner_and_the_servicers_need_no_grpc():
    subprocess.run([sys.executable, "-c", WITHOUT_GRPC], check=True)
