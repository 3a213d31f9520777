"""The gateway with more work than it has room for, over real gRPC."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from testing.fakes import FakeBackend

BULK = (("x-clipserve-priority", "bulk"),)
ROOM = 10


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def gateway(tmp_path, backend):
    settings = Settings(
        port=0, http_port=0, data=str(tmp_path), max_inflight_items=ROOM, default_timeout_seconds=1.0
    )
    gateway = Gateway(settings, backend)
    await gateway.start()
    await gateway.models.refresh()
    yield gateway
    await gateway.stop(drain_seconds=0, grace_seconds=1)


@pytest.fixture
async def clip(gateway):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        yield clip_pb2_grpc.ClipServiceStub(channel)


def texts(number: int, about: str = "") -> clip_pb2.EmbedRequest:
    return clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text=f"{about} {i}") for i in range(number)])


async def sample(gateway: Gateway, name: str, **labels: str) -> float | None:
    """A metric once it is there; None after a while."""
    for _ in range(100):
        value = gateway.metrics.registry.get_sample_value(name, labels)
        if value:
            return value
        await asyncio.sleep(0.01)
    return value


async def test_what_has_no_room_is_refused_at_once_and_told_when_to_come_again(clip, backend, gateway):
    backend.encoder.delay = 0.3
    filling = asyncio.ensure_future(clip.Embed(texts(8), timeout=5))
    assert await sample(gateway, "clipserve_inflight_items", lane="interactive") == 8
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await clip.Embed(texts(2, "more"), timeout=5)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    details = rpc_status.from_call(refused.value).details
    assert [detail.Unpack(info) or detail.Unpack(retry) for detail in details] == [True, True]
    assert (info.reason, dict(info.metadata)) == ("OVERLOADED", {"limit": "items"})
    assert retry.retry_delay.ToMilliseconds() == 500
    assert len((await filling).results) == 8
    assert len((await clip.Embed(texts(2, "more"), timeout=5)).results) == 2
    assert await sample(gateway, "clipserve_rejected_total", reason="items") == 1


async def test_bulk_has_a_part_of_its_own(clip, backend, gateway):
    backend.encoder.delay = 0.3
    filling = asyncio.ensure_future(clip.Embed(texts(9), timeout=5))
    assert await sample(gateway, "clipserve_inflight_items", lane="interactive") == 9
    assert len((await clip.Embed(texts(1, "bulk"), timeout=5, metadata=BULK)).results) == 1
    await filling


async def test_an_unknown_priority_is_an_invalid_argument(clip):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await clip.Embed(texts(1), metadata=(("x-clipserve-priority", "urgent"),))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "interactive or bulk" in refused.value.details()


async def test_streams_wait_for_room_instead(clip, backend):
    backend.encoder.delay = 0.05

    async def requests():
        for i in range(4):
            yield clip_pb2.EmbedStreamRequest(batch_id=i, request=texts(8, f"batch {i}"))

    answers = [answer async for answer in clip.EmbedStream(requests(), timeout=10)]
    assert [len(answer.response.results) for answer in answers] == [8] * 4


async def test_a_call_without_a_deadline_ends_by_the_servers_default(clip, backend, gateway):
    backend.encoder.delay = 30
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await clip.Embed(texts(1))
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await sample(gateway, "clipserve_dropped_total", stage="encode", reason="deadline") == 1


async def test_work_of_callers_who_hang_up_is_dropped_and_counted_by_stage(clip, backend, gateway):
    backend.encoder.delay = 30
    call = clip.Embed(texts(3), timeout=60)
    asking = asyncio.ensure_future(call.code())
    while not backend.encoder.text_batches:
        await asyncio.sleep(0.01)
    call.cancel()
    await asking
    assert await sample(gateway, "clipserve_dropped_total", stage="encode", reason="cancelled") == 1
    assert gateway.metrics.registry.get_sample_value("clipserve_inflight_items", {"lane": "interactive"}) == 0
