"""A store with everything in it that a store can have, for tests of backups."""

from __future__ import annotations

import contextlib
import datetime as dt
import os

import numpy as np
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.label_sets import LabelSets
from clipserve_gateway.collection.spec import CollectionSpec, Generation, Migration, MigrationState
from clipserve_gateway.index.engines import open_engine
from clipserve_gateway.index.values import PayloadType, Point, Source
from clipserve_gateway.types import LabelSet

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
SCHEMA = {"year": PayloadType.INT, "tags": PayloadType.STRING_LIST}
DIM = 8


@contextlib.contextmanager
def quiet(what, total):
    yield lambda done: None


def points(first, count):
    """Points with all that a point can have."""
    made = np.random.default_rng(first).normal(size=(count, DIM)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return [
        Point(
            f"p{first + i}",
            {"year": i, "tags": ["a", f"{i}"]} if i % 3 else {},
            row,
            Source("image", os.urandom(200)) if i % 2 else Source("text", "ein Hünd".encode()),
            f"file:///{i}",
        )
        for i, row in enumerate(made)
    ]


class Store:
    """A store with everything in it that a store can hold."""

    def __init__(self, uri):
        self.uri = str(uri)
        self.engine = open_engine(self.uri)
        self.catalog = Catalog(self.engine)

    async def fill(self):
        pets = CollectionSpec("pets", SCHEMA, NOW, Generation("c_pets_1_1", "m", "f" * 64, DIM), True)
        await self.catalog.create(pets)
        await self.engine.upsert(pets.table, points(0, 40))
        await self.engine.upsert(pets.table, points(20, 40))
        await self.engine.delete(pets.table, ["p3", "p50"])
        moving = CollectionSpec("moving", {}, NOW, Generation("c_moving_1_1", "m", "f" * 64, DIM))
        await self.catalog.create(moving)
        other = Generation("c_moving_1_2", "n", "e" * 64, 4)
        await self.engine.create_table(moving.table_of(other))
        plain = [Point(f"p{i}", {}, np.eye(DIM, dtype=np.float32)[i]) for i in range(4)]
        await self.engine.upsert(moving.table, plain)
        await self.engine.upsert(moving.table_of(other), [Point("p0", {}, np.eye(4, dtype=np.float32)[0])])
        migration = Migration(MigrationState.RUNNING, other, NOW, total=4, done=1, cursor="p0", beat=7)

        def move(spec):
            return CollectionSpec(spec.name, {}, NOW, spec.serving, migration=migration)

        await self.catalog.update("moving", move)
        await self.catalog.put_alias("best", "pets")
        await LabelSets(self.engine).put("birds", LabelSet(("owl", "kite"), ("a {}",)))
        return self

    async def content(self):
        """All that is in it, as plain values."""
        documents = {it.key: (it.value, it.version) for it in await self.engine.documents("")}
        tables = {}
        for spec in await self.catalog.all():
            for generation in spec.generations:
                rows = await self.engine.scroll(
                    spec.table_of(generation),
                    after="",
                    limit=10_000,
                    with_embeddings=True,
                    with_sources=spec.keep_sources,
                )
                tables[generation.table] = [
                    (it.id, it.payload, it.embedding.tobytes(), it.source, it.source_uri) for it in rows
                ]
        return documents, tables

    async def close(self):
        await self.catalog.close()
        await self.engine.close()
