"""Errors of calls over real gRPC: their codes and details."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc, common_pb2
from clipserve_gateway import errors
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from testing.wire import refusal


def text(words: str) -> clip_pb2.EmbedInput:
    return clip_pb2.EmbedInput(text=words)


def image(content: bytes) -> clip_pb2.EmbedInput:
    return clip_pb2.EmbedInput(image=common_pb2.Image(content=content))


async def test_unknown_names_are_not_found(clip, collections):
    code, info, _ = await refusal(clip.Embed(clip_pb2.EmbedRequest(model="nope", inputs=[text("a")])))
    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    code, info, _ = await refusal(clip.Search(clip_pb2.SearchRequest(collection="nope", text="a")))
    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "COLLECTION_NOT_FOUND")


async def test_too_many_items_are_refused_with_the_limit(clip):
    code, info, _ = await refusal(clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a")] * 65)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.metadata["limit"]) == ("LIMIT_EXCEEDED", "64")


async def test_a_message_over_the_limit_is_refused_without_a_hint_to_retry(clip):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await clip.Embed(clip_pb2.EmbedRequest(inputs=[image(bytes(65 * 2**20))]))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "grpc-retry-pushback-ms" not in dict(raised.value.trailing_metadata() or ())


async def test_bytes_that_are_no_message_are_an_invalid_argument(channel):
    call = channel.unary_unary("/clipserve.v1.ClipService/Embed")
    code, info, _ = await refusal(call(b"\xff\xff\xff"))
    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")


async def test_text_that_is_not_utf8_is_an_invalid_argument(channel):
    call = channel.unary_unary("/clipserve.v1.ClipService/Embed")
    item = b"\x12\x02\xff\xfe"
    code, _, _ = await refusal(call(b"\x12" + bytes([len(item)]) + item))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_deadline_ends_the_call_and_its_inference(gateway, backend):
    backend.encoder.delay = 30
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        clip = clip_pb2_grpc.ClipServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a")]), timeout=0.3)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        for _ in range(100):
            if backend.encoder.cancelled:
                break
            await asyncio.sleep(0.05)
        assert backend.encoder.cancelled == 1


async def test_a_fault_of_ours_tells_callers_nothing_and_the_log_everything(clip, backend, caplog):
    def fail(row):
        raise ZeroDivisionError("secret detail")

    backend.encoder.reject = fail
    code, info, _ = await refusal(clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a")])))
    assert (code, info.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert any(record.exc_info and "secret detail" in str(record.exc_info[1]) for record in caplog.records)


async def test_overload_tells_when_to_come_back_in_both_ways(clip, backend):
    async def full(*args, **kwargs):
        raise errors.Overloaded("full", retry_after=1.5)

    backend.encoder._answer = full
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await clip.Embed(clip_pb2.EmbedRequest(inputs=[text("a")]))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(raised.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1500"
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in rpc_status.from_call(raised.value).details)
    assert retry.retry_delay.ToMilliseconds() == 1500
