"""Parts of a gateway around a fake encoder."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from clipserve.v1 import clip_pb2_grpc, collection_pb2_grpc
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.inputs.decode_pool import DecodePool
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings
from clipserve_gateway.types import EncodedImage
from hypothesis import settings
from PIL import Image

from testing.callers import write_tokens
from testing.fakes import FakeBackend, FakeEncoder, fake_models

# The machine is shared: how long one example takes says nothing.
settings.register_profile("clipserve", deadline=None)
settings.load_profile("clipserve")


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def pool() -> Iterator[DecodePool]:
    pool = DecodePool(Metrics(), 2)
    yield pool
    pool.close()


@pytest.fixture
async def embedder(encoder: FakeEncoder, pool: DecodePool) -> Embedder:
    return Embedder(await fake_models(), encoder, pool, Settings().limits, Metrics(), fast_decode=True)


@pytest.fixture
def picture() -> Callable[..., EncodedImage]:
    """Makes a small PNG that differs with its seed."""

    def make(seed: int = 0, *, side: int = 20) -> EncodedImage:
        pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return EncodedImage(file.getvalue())

    return make


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Gateway]]]:
    """Starts gateways with these settings, and with tokens where lines of a token file are given."""
    gateways: list[Gateway] = []

    async def start(*lines: str, **settings: object) -> Gateway:
        if lines:
            settings["token_file"] = str(write_tokens(tmp_path, *lines))
        gateway = Gateway(
            Settings(port=0, http_port=0, data=str(tmp_path / "data"), **settings), FakeBackend()
        )
        gateways.append(gateway)
        await gateway.start()
        await gateway.models.refresh()
        return gateway

    yield start
    for gateway in gateways:
        await gateway.stop(drain_seconds=0, grace_seconds=1)


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def gateway(tmp_path, backend):
    settings = Settings(
        port=0, http_port=0, data=str(tmp_path), max_image_pixels=1_000_000, max_items_per_call=64
    )
    gateway = Gateway(settings, backend)
    await gateway.start()
    await gateway.models.refresh()
    yield gateway
    await gateway.stop(drain_seconds=0, grace_seconds=1)


@pytest.fixture
async def channel(gateway):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        yield channel


@pytest.fixture
def clip(channel):
    return clip_pb2_grpc.ClipServiceStub(channel)


@pytest.fixture
def collections(channel):
    return collection_pb2_grpc.CollectionServiceStub(channel)
