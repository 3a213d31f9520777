"""Fakes of the gateway's seams: deterministic, fast, and honest about shapes."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import io
from collections.abc import Callable

import numpy as np
from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.triton.canary import inputs_of
from clipserve_gateway.triton.encoder import Rows
from clipserve_gateway.triton.models import Models
from clipserve_gateway.triton.parameters import TowerConfig
from clipserve_gateway.types import Canary, Floats, Ids, ModelSpec, Pixels, Preprocess, TokenizerSpec, Tower
from PIL import Image

DIM = 8
SIZE = 16

TOKEN_VECTORS = np.random.default_rng(0).standard_normal((49408, DIM))
TOKEN_VECTORS[0] = 0

SPEC = ModelSpec(
    name="fake",
    fingerprint="f" * 64,
    embed_dim=DIM,
    preprocess=Preprocess(SIZE, SIZE),
    tokenizer=TokenizerSpec(77),
    fixed_text_length=False,
    logit_scale=20.0,
    logit_bias=None,
    architecture="fake",
    pretrained="",
    precision="fp32",
    license="mit",
    max_image_batch=4,
    max_text_batch=8,
)


def parameters(**changes: str) -> dict[str, str]:
    """Configuration parameters of a model that the gateway accepts, with changes."""
    good = {
        "schema": "1",
        "model": SPEC.name,
        "embed_dim": str(DIM),
        "image_size": str(SIZE),
        "resize": "shortest",
        "interpolation": "bicubic",
        "crop": "center",
        "context_length": "77",
        "tokenizer": "openai_bpe",
        "text_length": "ragged",
        "logit_scale": "20.0",
        "fingerprint": SPEC.fingerprint,
        "precision": "fp32",
        "format": "python",
        "architecture": "fake",
        "pretrained": "",
        "license": "mit",
    }
    return good | changes


def towers(**changes: str) -> list[TowerConfig]:
    """Both towers of the fake model. Another model has a fingerprint of its own."""
    name = changes.get("model", SPEC.name)
    if name != SPEC.name:
        changes = {"fingerprint": hashlib.sha256(name.encode()).hexdigest(), **changes}
    return [
        TowerConfig(f"{name}_image", SPEC.max_image_batch, parameters(tower="image", **changes)),
        TowerConfig(f"{name}_text", SPEC.max_text_batch, parameters(tower="text", **changes)),
    ]


@functools.cache
def canary_parameters() -> dict[str, str]:
    """Configuration parameters that record what FakeEncoder answers."""
    picture = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (20, 30, 3), np.uint8)).save(picture, "PNG")
    canary = Canary(picture.getvalue(), b"", "a canary", b"")
    pixels, ids = inputs_of(SPEC, canary)
    encoded = picture.getvalue(), *(row.astype("<f4").tobytes() for row in (stripes(pixels), sums(ids)))
    image, image_embedding, text_embedding = (base64.b64encode(part).decode() for part in encoded)
    return {
        "canary_image_png": image,
        "canary_image_embedding": image_embedding,
        "canary_text": canary.text,
        "canary_text_embedding": text_embedding,
    }


class FakeTriton:
    """A model source whose contents tests change."""

    def __init__(self, *found: TowerConfig) -> None:
        self.found = {tower.triton_name: tower for tower in found or towers()}
        self.ready = dict.fromkeys(self.found, True)
        self.loaded: dict[str, frozenset[str]] = {}
        self.error: errors.ClipserveError | None = None
        self.bundles: dict[str, bytes] = {}
        """Models whose tokenizer it has."""
        self.bundles_sent = 0
        self.failures: dict[str, str] = {}
        """Why it could not load its towers."""

    def why_unready(self, model: str) -> str:
        """See PooledSource."""
        return ""

    async def load_failures(self, timeout: float) -> dict[str, str]:
        """See WatchedTriton."""
        return self.failures

    async def repository_index(self, timeout: float) -> dict[str, frozenset[str]]:
        """See ModelSource. What is ready is ready in the version that its configuration names, unless
        `loaded` says otherwise."""
        if self.error:
            raise self.error
        named = {name: self.found[name].version if name in self.found else "1" for name in self.ready}
        ready = {name: frozenset({named[name]} if up else ()) for name, up in self.ready.items()}
        return ready | self.loaded

    async def towers(self, names: list[str], timeout: float) -> list[TowerConfig]:
        """See ModelSource."""
        return [self.found[name] for name in names]

    async def tokenizer_bundle(self, spec: ModelSpec, timeout: float) -> bytes:
        """See TokenizerSource."""
        self.bundles_sent += 1
        if spec.name not in self.bundles:
            raise errors.ModelLoading(
                f"Triton does not serve {spec.name}_tokenizer in version {spec.version}"
            )
        return self.bundles[spec.name]


async def no_one() -> None:
    """Listens to changes and does nothing."""


async def fake_models(source: FakeTriton | None = None, **options: object) -> Models:
    """Models that have been refreshed once."""
    defaults: dict = {"default": "", "poll_seconds": 1.0, "metrics": Metrics(), "on_change": no_one}
    models = Models(source or FakeTriton(), **(defaults | options))
    await models.refresh()
    return models


class FakeBackend:
    """A fake Triton whole: models and encoder in one."""

    def __init__(self, source: FakeTriton | None = None, encoder: FakeEncoder | None = None) -> None:
        self.source = source or FakeTriton()
        self.encoder = encoder or FakeEncoder()
        self.repository_index = self.source.repository_index
        self.towers = self.source.towers
        self.why_unready = self.source.why_unready
        self.encode = self.encoder.encode
        self.check = self.encoder.check
        self.failures: dict[str, str] = {}
        """Why Triton could not load its towers."""
        self.counts: dict[str, int] | errors.ClipserveError = {}
        """Inputs that each tower has finished, or why Triton does not tell."""

    def saturation(self) -> float:
        """Never full."""
        return 0.0

    def reusable_result(self, address: str, spec: ModelSpec) -> None:
        """No canary was run."""

    async def completed(self, timeout: float) -> dict[str, int]:
        """See WatchedTriton."""
        if isinstance(self.counts, errors.ClipserveError):
            raise self.counts
        return self.counts

    async def load_failures(self, timeout: float) -> dict[str, str]:
        """See WatchedTriton."""
        return self.failures

    async def close(self) -> None:
        """Nothing is open."""


def stripes(pixels: Pixels) -> np.ndarray:
    """Means of eight stripes of each picture, float64 [B, DIM]."""
    return pixels.reshape(len(pixels), DIM, -1).mean(axis=2, dtype=np.float64)


def sums(ids: Ids) -> np.ndarray:
    """Sums of the tokens' own random vectors, float64 [B, DIM]."""
    return TOKEN_VECTORS[ids].sum(axis=1)


class FakeEncoder:
    """Embeddings that depend on the input alone; `reject` makes batches that hold a bad item fail."""

    def __init__(
        self, *, delay: float = 0.0, reject: Callable[[np.ndarray], bool] = lambda row: False
    ) -> None:
        self.delay = delay
        self.reject = reject
        self.image_batches: list[tuple[int, ...]] = []
        self.text_batches: list[tuple[int, ...]] = []
        self.cancelled = 0

    def check(self, spec: ModelSpec, tower: Tower, rows: int, deadline: Deadline) -> None:
        """Takes everything."""

    def bounds_bulk(self, spec: ModelSpec, tower: Tower) -> bool:
        """Is as fast as bulk work can be."""
        return False

    async def encode(self, spec: ModelSpec, tower: Tower, rows: Rows, deadline: Deadline) -> Floats:
        """Means of eight stripes of the picture; sums over the tokens' vectors, padding counts nothing."""
        images = tower == "image"
        (self.image_batches if images else self.text_batches).append(rows.shape)
        assert len(rows) <= (spec.max_image_batch if images else spec.max_text_batch), "batch limit"
        return await self._answer(rows, (stripes if images else sums)(rows))

    async def _answer(self, batch: np.ndarray, found: np.ndarray) -> Floats:
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if any(self.reject(row) for row in batch):
            raise errors.InferenceFailed("the fake rejects this batch")
        return found.astype(np.float32)
