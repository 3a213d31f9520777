"""The fuzzer of HTTP finds what it looks for, and makes the same requests again."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import httpx
import pytest
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings

from bench.fuzz.http import Request, Requests, fault, fuzz_http
from testing.fakes import DIM, FakeBackend
from testing.hostile.blind import ColorBlind
from testing.hostile.sending import OPTIONS
from testing.hostile.world import build

POST = Request("POST", "/clipserve.v1.ClipService/Embed", {}, b"")
INFO = {"type": "google.rpc.ErrorInfo", "debug": {"reason": "INVALID_INPUT"}}


def answer(status: int, body: object) -> httpx.Response:
    return httpx.Response(status, json=body)


@pytest.mark.parametrize(
    ("answer", "is_fault"),
    [
        (answer(200, {}), False),
        (answer(400, {"code": "invalid_argument", "message": "m", "details": [INFO]}), False),
        (answer(400, {"error": {"message": "m", "code": "INVALID_INPUT"}}), False),
        (answer(500, {"code": "internal", "message": "m", "details": [INFO]}), True),
        (answer(504, {"code": "deadline_exceeded", "message": "m", "details": [INFO]}), True),
        (answer(400, {"code": "invalid_argument", "message": "m", "details": []}), True),
        (answer(400, {"code": "invalid_argument", "message": "x" * 2_000, "details": [INFO]}), True),
        (answer(400, {"error": {"message": "m", "code": ""}}), True),
    ],
)
def test_an_answer_that_breaks_a_promise_is_a_fault(answer: httpx.Response, is_fault: bool):
    assert bool(fault(POST, answer)) == is_fault


def test_a_seed_and_a_number_make_the_same_request_again():
    first, second = Requests(5, DIM), Requests(5, DIM)
    numbers = range(200)
    made = [first.make(number) for number in numbers]
    assert [second.make(number) for number in reversed(numbers)] == made[::-1]
    assert len({request.body for request in made}) > 150


def test_some_requests_are_json_and_some_are_not():
    def is_json(body: bytes) -> bool:
        try:
            json.loads(body)
        except ValueError:
            return False
        return True

    made = [Requests(5, DIM).make(number) for number in range(100)]
    assert 30 < sum(is_json(request.body) for request in made) < 90


@pytest.mark.slow
async def test_a_sound_gateway_keeps_every_promise(tmp_path: Path):
    settings = Settings(port=0, http_port=0, api_port=0, data=str(tmp_path))
    gateway = Gateway(settings, FakeBackend(encoder=ColorBlind()))
    await gateway.start()
    await gateway.models.refresh()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}", options=OPTIONS) as channel:
        await build(channel)
    report = await fuzz_http(gateway.api_address, DIM, 150, 1, 4)
    await gateway.stop(drain_seconds=0, grace_seconds=1)
    assert report.findings == []
    assert report.sent == 150
