"""One gateway: health, ports, start and stop."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request

import grpc
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc, collection_pb2
from clipserve_gateway import errors
from clipserve_gateway.grpc_adapter.health import CALLS_SERVICE, MODEL_SERVICE
from clipserve_gateway.server import Gateway, PortTaken
from clipserve_gateway.settings import Settings
from grpc_health.v1 import health_pb2, health_pb2_grpc

from testing.fakes import SPEC, FakeBackend, FakeEncoder
from testing.wire import refusal


def text(words: str) -> clip_pb2.EmbedInput:
    return clip_pb2.EmbedInput(text=words)


async def test_health_follows_the_models(gateway, backend, channel):
    health = health_pb2_grpc.HealthStub(channel)
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    names = ("", "clipserve.v1.ClipService", CALLS_SERVICE, MODEL_SERVICE + SPEC.name)

    async def statuses():
        return [(await health.Check(health_pb2.HealthCheckRequest(service=name))).status for name in names]

    await gateway.begun()
    assert await statuses() == [serving] * 4
    backend.source.error = errors.ModelUnavailable("down")
    await gateway.models.refresh()
    assert await statuses() == [serving, serving, serving, not_serving]
    backend.source.error = None
    await gateway.models.refresh()
    assert await statuses() == [serving] * 4


def get(gateway, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.http_port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_the_http_port_tells_life_readiness_and_metrics(gateway, backend, clip, collections):
    await gateway.begun()
    await clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a")]))
    await refusal(clip.Embed(clip_pb2.EmbedRequest(model="made up", inputs=[text("a")])))
    await collections.ListCollections(collection_pb2.ListCollectionsRequest())
    seconds, labels = "clipserve_request_seconds_count", {"method": "Embed", "model": SPEC.name}
    while not gateway.metrics.registry.get_sample_value(seconds, labels):
        await asyncio.sleep(0.01)
    assert (await asyncio.to_thread(get, gateway, "/healthz"))[0] == 200
    assert (await asyncio.to_thread(get, gateway, "/readyz"))[0] == 200
    backend.source.error = errors.ModelUnavailable("down")
    await gateway.models.refresh()
    assert (await asyncio.to_thread(get, gateway, "/healthz"))[0] == 200
    assert (await asyncio.to_thread(get, gateway, "/readyz"))[0] == 200
    assert (await asyncio.to_thread(get, gateway, "/nope"))[0] == 404
    assert await asyncio.to_thread(get, gateway, "/models") == (200, "fake not ready: it has just changed\n")
    _, metrics = await asyncio.to_thread(get, gateway, "/metrics")
    assert 'clipserve_requests_total{code="OK",method="Embed",model="fake"} 1.0' in metrics
    assert 'clipserve_request_seconds_count{method="Embed",model="fake"} 1.0' in metrics
    assert 'clipserve_requests_total{code="NOT_FOUND",method="Embed",model=""} 1.0' in metrics
    assert 'clipserve_requests_total{code="OK",method="ListCollections",model=""} 1.0' in metrics
    assert 'clipserve_model_ready{model="fake"} 0.0' in metrics
    assert "clipserve_engine_up 1.0" in metrics
    assert 'clipserve_stage_saturation{stage="decode"} 0.0' in metrics
    assert 'clipserve_stage_saturation{stage="loop"} 0.' in metrics


async def test_a_taken_port_is_told(gateway, tmp_path):
    with pytest.raises(PortTaken, match=str(gateway.port)):
        await Gateway(Settings(port=gateway.port, http_port=0, data=str(tmp_path)), FakeBackend()).start()
    with pytest.raises(PortTaken, match=str(gateway.http_port)):
        await Gateway(
            Settings(port=0, http_port=gateway.http_port, data=str(tmp_path)), FakeBackend()
        ).start()


async def test_stopping_lets_running_calls_finish(tmp_path):
    gateway = Gateway(
        Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend(encoder=FakeEncoder(delay=0.5))
    )
    await gateway.start()
    await gateway.models.refresh()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        call = asyncio.ensure_future(
            clip_pb2_grpc.ClipServiceStub(channel).Embed(clip_pb2.EmbedRequest(inputs=[text("a")]))
        )
        await asyncio.sleep(0.2)
        await gateway.stop(drain_seconds=0, grace_seconds=5)
        assert len((await call).results) == 1


async def test_callers_do_not_come_before_models_have_been_looked_for(tmp_path):
    backend = FakeBackend()
    looking, index = asyncio.Event(), backend.repository_index

    async def slow_index(timeout: float) -> dict[str, bool]:
        await looking.wait()
        return await index(timeout)

    backend.repository_index = slow_index
    gateway = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), backend)
    await gateway.start()
    wanted = health_pb2.HealthCheckRequest(service=CALLS_SERVICE)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(wanted)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        looking.set()
        await gateway.begun()
        assert (await health.Check(wanted)).status == health_pb2.HealthCheckResponse.SERVING
    await gateway.stop(drain_seconds=0, grace_seconds=1)


async def test_callers_are_told_to_leave_when_it_will_stop_and_not_for_want_of_a_model(tmp_path):
    backend = FakeBackend()
    backend.source.error = errors.ModelUnavailable("down")
    gateway = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), backend)
    await gateway.start()
    await gateway.begun()
    wanted = health_pb2.HealthCheckRequest(service=CALLS_SERVICE)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(wanted)).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.ensure_future(gateway.stop(drain_seconds=0.3, grace_seconds=1))
        await asyncio.sleep(0.1)
        assert (await health.Check(wanted)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await stopping
