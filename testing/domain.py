"""The gateway's operations on collections, put together around any engine and a fake encoder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.embedding import CollectionEmbedder
from clipserve_gateway.collection.management import CollectionOps
from clipserve_gateway.collection.migration import Migrator
from clipserve_gateway.collection.points import NewPoint, PointOps
from clipserve_gateway.collection.score_statistics import Statistics
from clipserve_gateway.collection.search import Part, Query, Searcher, SearchOutcome
from clipserve_gateway.collection.sources import SourceReader
from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import PayloadType
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.inference.text_store import TextStore
from clipserve_gateway.triton.models import Models
from clipserve_gateway.types import AS_OPEN_CLIP, EncodedImage, ImageRules
from PIL import Image

from testing.fakes import FakeTriton, towers

SOON = Deadline.after(3600)
OTHER = "other"
"""A second model, whose fingerprint differs."""
SCHEMA = {"year": PayloadType.INT, "kind": PayloadType.STRING}
MAX_BYTES = 1 << 20


def two_models() -> FakeTriton:
    """A Triton that serves both models."""
    return FakeTriton(*towers(), *towers(model=OTHER, fingerprint="0" * 64))


class Domain:
    """One gateway's operations; several may share an engine."""

    def __init__(
        self,
        engine: Engine,
        models: Models,
        embedder: Embedder,
        prefixes: Sequence[str] = (),
        rules: ImageRules = AS_OPEN_CLIP,
    ) -> None:
        self.engine = engine
        self.embedder = CollectionEmbedder(models, embedder)
        self.catalog = Catalog(engine)
        self.sources = SourceReader(prefixes, MAX_BYTES)
        self.statistics = Statistics(engine, self.embedder, TextStore(engine))
        self.collections = CollectionOps(engine, self.catalog, models, self.statistics, rules)
        self.points = PointOps(engine, self.catalog, self.embedder, self.sources)
        self.searcher = Searcher(engine, self.catalog, self.embedder, self.statistics)
        self.migrator = Migrator(engine, self.catalog, models, self.embedder, self.sources, rules)

    async def create(self, name: str = "pets", **changes: object) -> CollectionSpec:
        """A new collection of the fake model."""
        return (await self.collections.create(name, "fake", SCHEMA, **changes)).spec

    async def upsert(
        self, name: str, *points: NewPoint, fingerprint: str = ""
    ) -> list[ClipserveError | None]:
        """Writes points."""
        spec = await self.catalog.get(name)
        outcome = await self.points.upsert(spec, points, fingerprint=fingerprint, deadline=SOON)
        return outcome.statuses

    async def search(self, name: str, *parts: Part, **changes: object) -> SearchOutcome:
        """Searches, for everything unless told otherwise."""
        facts: dict = {
            "collection": await self.catalog.get(name),
            "parts": parts,
            "top_k": 10,
            "score_threshold": None,
            "filter": None,
            "with_payload": True,
            "payload_fields": (),
            "fingerprint": "",
            "consistent": True,
            "duplicate_threshold": None,
        }
        return await self.searcher.search(Query(**(facts | changes)), deadline=SOON)

    async def close(self) -> None:
        """Ends what runs in the background; the engine stays."""
        await self.migrator.close()
        await self.statistics.close()
        await self.catalog.close()


def picture(seed: int) -> EncodedImage:
    """A small PNG of chance, the same for the same seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return EncodedImage(file.getvalue())


def stored_picture(folder: Path, seed: int) -> str:
    """Writes the picture of that seed into a folder; its URI."""
    path = folder / f"{seed}.png"
    path.write_bytes(picture(seed).content)
    return path.as_uri()
