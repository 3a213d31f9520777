"""Parts of a gateway around a fake encoder."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from clipserve_gateway.decode_pool import DecodePool
from clipserve_gateway.embed import Embedder
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.settings import Settings
from clipserve_gateway.types import EncodedImage
from hypothesis import settings
from PIL import Image
from support.fakes import FakeEncoder, fake_models

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
