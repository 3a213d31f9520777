"""Bad input of every kind: each case ends as promised, and disturbs nothing else."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings
from google.protobuf.message import Message

from testing.fakes import FakeBackend
from testing.hostile.blind import ColorBlind
from testing.hostile.corpus import families
from testing.hostile.sending import OPTIONS, send
from testing.hostile.texts import MIB
from testing.hostile.world import COLLECTION, World, build, points

FAMILIES = families(nth=5)

# Pillow's warnings about odd files: the server ignores them.
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    settings = Settings(port=0, http_port=0, data=str(tmp_path_factory.mktemp("hostile")))
    gateway = Gateway(settings, FakeBackend(encoder=ColorBlind()))
    await gateway.start()
    await gateway.models.refresh()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}", options=OPTIONS) as channel:
        yield await build(channel)
    await gateway.stop(drain_seconds=0, grace_seconds=1)


def refused() -> dict[str, tuple[str, bytes]]:
    """Requests of four mebibytes that are refused, each at another place."""
    image = common_pb2.Image(content=bytes(4 * MIB))
    embed = clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(image=image)])
    nameless = clip_pb2.EmbedRequest(inputs=embed.inputs, model="nope")
    labels = clip_pb2.LabelSet(names=["a"])
    point = collection_pb2.PointInput(id="a", image=image)
    messages: dict[str, tuple[str, Message]] = {
        "an item": ("ClipService/Embed", embed),
        "a text": (
            "ClipService/Embed",
            clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text="a" * (4 * MIB))]),
        ),
        "a call": ("ClipService/Embed", nameless),
        "an item of a stream": ("ClipService/EmbedStream", clip_pb2.EmbedStreamRequest(request=embed)),
        "a batch of a stream": ("ClipService/EmbedStream", clip_pb2.EmbedStreamRequest(request=nameless)),
        "one of two things": (
            "ClipService/Classify",
            clip_pb2.ClassifyRequest(images=[image], labels=labels, model="nope"),
        ),
        "a query": ("ClipService/Search", clip_pb2.SearchRequest(collection=COLLECTION, image=image)),
        "a place": ("ClipService/Search", clip_pb2.SearchRequest(collection="nowhere", image=image)),
        "a point": ("CollectionService/UpsertPoints", points(COLLECTION, [point])),
        "a collection": ("CollectionService/UpsertPoints", points("nowhere", [point])),
    }
    written = {name: (method, message.SerializeToString()) for name, (method, message) in messages.items()}
    for name in ("a call", "a batch of a stream"):
        method, data = written[name]
        written[f"{name} that is no message"] = (method, data + b"\xff")
    return written


@pytest.mark.parametrize("what", refused())
async def test_what_was_refused_is_let_go_before_garbage_is_collected(world: World, what: str) -> None:
    method, data = refused()[what]
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(3):
            outcome = await send(world.channel, method, data)
        del outcome
        for _ in range(100):
            await asyncio.sleep(0.01)
            kept = tracemalloc.get_traced_memory()[0] - before
            if kept < MIB:
                break
        assert kept < MIB
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("family", FAMILIES)
async def test_every_case_ends_as_promised(world: World, family: str) -> None:
    assert await FAMILIES[family](world) == []


async def test_after_all_that_nothing_has_changed(world: World) -> None:
    assert await world.kept_fault() == ""
    outcome = await world.embed([])
    assert world.neighbors_fault(outcome.responses[0].results) == ""
