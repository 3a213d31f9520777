"""A caller has so many calls under way, and no more."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc
from clipserve_gateway.errors import Overloaded
from clipserve_gateway.flow.call_limits import CallLimits

from testing.callers import secret

METADATA = (("authorization", f"Bearer {secret('web')}"),)


def test_streams_are_calls_and_have_a_limit_of_their_own():
    limits = CallLimits(3, 2)
    limits.enter("a", stream=True)
    limits.enter("a", stream=True)
    with pytest.raises(Overloaded, match="2 streams"):
        limits.enter("a", stream=True)
    limits.enter("a", stream=False)
    with pytest.raises(Overloaded, match="3 calls"):
        limits.enter("a", stream=False)
    limits.enter("b", stream=True)
    limits.enter("a", stream=False, calls=10)
    for stream in (True, True, False, False):
        limits.leave("a", stream=stream)
    limits.leave("b", stream=True)
    assert len(limits) == 0


@pytest.fixture
async def gateway(serve):
    return await serve("web calls=3 streams=1")


async def test_the_tokens_calls_are_counted_over_all_its_connections(gateway):
    text = clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text="a")])
    address = f"127.0.0.1:{gateway.port}"
    alone = [("grpc.use_local_subchannel_pool", 1)]
    async with (
        grpc.aio.insecure_channel(address, alone) as one,
        grpc.aio.insecure_channel(address, alone) as other,
    ):
        clip, others = clip_pb2_grpc.ClipServiceStub(one), clip_pb2_grpc.ClipServiceStub(other)
        stream = clip.EmbedStream(metadata=METADATA)
        await stream.write(clip_pb2.EmbedStreamRequest(request=text))
        await stream.read()
        second = others.EmbedStream(metadata=METADATA)
        assert await second.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        gateway.parts.backend.encoder.delay = 0.5
        answers = await asyncio.gather(
            *(others.Embed(text, metadata=METADATA).code() for _ in range(5)), return_exceptions=True
        )
        assert sorted(code.name for code in answers) == ["OK"] * 2 + ["RESOURCE_EXHAUSTED"] * 3
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK
    while len(gateway.parts.intake.calls):
        await asyncio.sleep(0.001)
