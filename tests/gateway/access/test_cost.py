"""What calls count for against their token's rate."""

from __future__ import annotations

import asyncio
import io

import grpc
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc, collection_pb2, common_pb2
from clipserve_gateway.access.cost import ITEM_BYTES, afterwards, cost
from clipserve_gateway.access.methods import RPCS
from clipserve_gateway.flow import stages
from PIL import Image

from testing.callers import secret

METADATA = (("authorization", f"Bearer {secret('web')}"),)


@pytest.mark.parametrize(
    ("rpc", "request_", "size", "items"),
    [
        ("Embed", clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text="a")] * 7), 100, 7),
        ("Embed", clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text="a")]), ITEM_BYTES, 1),
        ("Embed", clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text="a")]), 5 * ITEM_BYTES + 1, 6),
        ("Embed", clip_pb2.EmbedRequest(), 0, 1),
        ("GetServerInfo", clip_pb2.GetServerInfoRequest(), 0, 1),
        ("GetPoints", collection_pb2.GetPointsRequest(ids=["a", "b"]), 10, 2),
    ],
)
def test_items_or_bytes_count_whichever_is_more(rpc, request_, size, items):
    assert cost(RPCS[rpc], request_, size) == items


def test_work_and_answers_count_once():
    with stages.recording():
        stages.add_work(2.5)
        stages.add_received(10)
        assert afterwards(ITEM_BYTES * 3) == 5
        assert afterwards(0) == 0
        assert (stages.take_received(), stages.take_received()) == (10, 0)
    assert afterwards(0) == 0


@pytest.fixture
async def gateway(serve):
    return await serve("web rate=0.001 burst=10")


@pytest.fixture
async def left_after(gateway):
    """Makes a call; whether the token, which has ten items and gets no more, still has some after it."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        clip = clip_pb2_grpc.ClipServiceStub(channel)

        async def left(request: clip_pb2.ClassifyRequest) -> bool:
            await clip.Classify(request, metadata=METADATA)
            # What a call took is settled when its room is given back, a moment after its answer.
            while gateway.parts.intake.budget.used:
                await asyncio.sleep(0.001)
            code = await clip.GetServerInfo(clip_pb2.GetServerInfoRequest(), metadata=METADATA).code()
            assert code in (grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED)
            return code is grpc.StatusCode.OK

        yield left


def picture(side: int = 8, kind: str = "PNG") -> common_pb2.Image:
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, kind)
    return common_pb2.Image(content=file.getvalue())


def classify(labels: int, side: int = 8, kind: str = "PNG") -> clip_pb2.ClassifyRequest:
    names = [f"label {n}" for n in range(labels)]
    return clip_pb2.ClassifyRequest(images=[picture(side, kind)], labels=clip_pb2.LabelSet(names=names))


async def test_a_classify_of_few_labels_counts_its_images(left_after):
    assert await left_after(classify(5))


async def test_prompts_that_are_encoded_count_and_known_ones_do_not(left_after):
    assert not await left_after(classify(200))


async def test_known_prompts_cost_nothing(left_after):
    for _ in range(3):
        assert await left_after(classify(20))


async def test_a_picture_of_many_pixels_counts_for_more(left_after):
    assert not await left_after(classify(2, 4_000, "WEBP"))
