"""The API port of a gateway: off by default, beside gRPC, with its bounds, and drained at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from pathlib import Path

import pytest
from clipserve_gateway.flow import slow_callers
from clipserve_gateway.server import Gateway, PortTaken
from clipserve_gateway.settings import Settings

from testing.certificates import Authority
from testing.fakes import FakeBackend, FakeEncoder
from testing.raw_http import connect, exchange, request, status, until_closed

EMBED = "POST /clipserve.v1.ClipService/Embed"
TEXT = json.dumps({"inputs": [{"text": "a dog"}]}).encode()


def embed(body: bytes = TEXT, **headers: str) -> bytes:
    return request(EMBED, body, Host="localhost", Content_Type="application/json", **headers)


async def test_it_is_off_unless_it_is_set(serve, caplog):
    caplog.set_level("INFO")
    gateway = await serve()
    assert (gateway.api_port, gateway.api_address) == (0, "")
    assert "HTTP API on" not in caplog.text


def test_an_empty_value_is_off(monkeypatch):
    monkeypatch.setenv("CLIPSERVE_API_PORT", "")
    assert Settings().api_port is None
    monkeypatch.setenv("CLIPSERVE_API_PORT", "0")
    assert Settings().api_port == 0


async def test_it_answers_calls(serve, caplog):
    caplog.set_level("INFO")
    gateway = await serve(api_port=0)
    answer = await exchange(gateway.api_port, embed())
    assert status(answer) == "HTTP/1.1 200 OK"
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["results"]
    assert f"HTTP API on http://127.0.0.1:{gateway.api_port}" in caplog.text


async def test_it_has_an_address_of_its_own(serve):
    gateway = await serve(api_port=0, api_host="127.0.0.2")
    with socket.create_connection(("127.0.0.2", gateway.api_port)):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gateway.api_port))


async def test_a_taken_port_is_told_with_its_option(serve, tmp_path):
    gateway = await serve(api_port=0)
    other = Settings(port=0, http_port=0, api_port=gateway.api_port, data=str(tmp_path / "other"))
    with pytest.raises(PortTaken, match=rf"port {gateway.api_port} is taken by .*--api-port"):
        await Gateway(other, FakeBackend()).start()


async def test_it_uses_the_files_of_tls(serve, tmp_path, caplog):
    caplog.set_level("INFO")
    authority = Authority()
    certificate, key = authority.issue().write(tmp_path)
    gateway = await serve(api_port=0, tls_certificate=certificate, tls_key=key)
    trusting = ssl.create_default_context(cadata=authority.certificate.decode())
    assert status(await exchange(gateway.api_port, embed(), trusting)) == "HTTP/1.1 200 OK"
    assert "HTTP API on https://" in caplog.text


async def test_tokens_in_the_clear_are_told_for_its_address_too(serve, caplog):
    await serve("web", api_port=0, api_host="0.0.0.0")
    assert "tokens travel to 0.0.0.0 in the clear" in caplog.text


async def test_a_stop_lets_calls_end_and_closes_the_port(tmp_path: Path):
    encoder = FakeEncoder()
    gateway = Gateway(
        Settings(port=0, http_port=0, api_port=0, data=str(tmp_path)), FakeBackend(encoder=encoder)
    )
    await gateway.start()
    await gateway.models.refresh()
    encoder.delay = 0.5
    answer = asyncio.create_task(exchange(gateway.api_port, embed(close=False)))
    while not gateway.parts.intake.calls:
        await asyncio.sleep(0.01)
    port = gateway.api_port
    await gateway.stop(drain_seconds=0, grace_seconds=30)
    assert status(await answer) == "HTTP/1.1 200 OK"
    with pytest.raises(ConnectionRefusedError):
        await connect(port)


async def test_new_calls_are_answered_while_load_balancers_notice(serve):
    gateway = await serve(api_port=0)
    stopping = asyncio.create_task(gateway.stop(drain_seconds=30, grace_seconds=1))
    while not gateway.parts.readiness.unready():
        await asyncio.sleep(0.01)
    assert status(await exchange(gateway.api_port, embed())) == "HTTP/1.1 200 OK"
    stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await stopping


async def test_a_client_that_leaves_ends_its_call(tmp_path, serve):
    gateway = await serve(api_port=0)
    gateway.parts.backend.encoder.delay = 60
    _, writer = await connect(gateway.api_port)
    writer.write(embed())
    while not gateway.parts.intake.calls:
        await asyncio.sleep(0.01)
    writer.transport.abort()
    while gateway.parts.intake.calls or gateway.parts.intake.budget.used:
        await asyncio.sleep(0.01)


async def test_a_slow_body_loses_its_room_while_others_wait(serve, monkeypatch):
    """Above the least rate of connections, and below that of callers while memory is short."""
    monkeypatch.setattr(slow_callers, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(slow_callers, "LEAST_RATE", 1 << 40)
    gateway = await serve(api_port=0, max_held_bytes=16 << 20)
    budget = gateway.parts.intake.budget
    body = json.dumps({"inputs": [{"text": "x" * (9 << 20)}]}).encode()
    slow = await connect(gateway.api_port)
    slow[1].write(embed(body)[: -len(body)])
    sending = asyncio.create_task(trickle(slow[1], body))
    while not budget.used:
        await asyncio.sleep(0.01)
    other = asyncio.create_task(exchange(gateway.api_port, embed(body)))
    answer = await until_closed(slow)
    sending.cancel()
    assert status(answer) == "HTTP/1.1 429 Too Many Requests"
    assert b"arrived too slowly" in answer
    assert status(await other) == "HTTP/1.1 200 OK"


async def test_an_answer_that_is_not_read_loses_its_room_while_others_wait(serve, monkeypatch):
    monkeypatch.setattr(slow_callers, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(slow_callers, "LEAST_RATE", 1 << 40)
    gateway = await serve(api_port=0)
    cut: list[str] = []
    slow = gateway.parts.intake.slow
    monkeypatch.setattr(slow, "_cut", lambda fd, peer: cut.append(peer))
    _, writer = await connect(gateway.api_port)
    peer = "ipv4:{}:{}".format(*writer.get_extra_info("sockname")[:2])
    writer.write(embed(close=False))
    while peer not in list(slow):
        await asyncio.sleep(0.01)
    # The connection is found by the name that calls over HTTP give it.
    sending = slow.send(peer, 1 << 20)
    monkeypatch.setattr(type(slow), "_wanted_by_anyone", True)
    while not cut:
        await asyncio.sleep(0.01)
    slow.sent(sending)
    assert cut[0] == peer
    writer.transport.abort()


async def trickle(writer: asyncio.StreamWriter, body: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(body), 4096):
            writer.write(body[start : start + 4096])
            await asyncio.sleep(0.02)
