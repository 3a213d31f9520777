"""Helpers for tests of migrations: wait for states, and look at both tables of a collection."""

from __future__ import annotations

import asyncio

import numpy as np
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.spec import MigrationState
from clipserve_gateway.index.values import Point, Source

from testing.domain import OTHER
from testing.fakes import DIM

UNIT = np.eye(DIM, dtype=np.float32)


async def state_of(domain, name="pets"):
    return (await domain.catalog.get(name, fresh=True)).migration


async def until(domain, state, name="pets"):
    for _ in range(2_000):
        migration = await state_of(domain, name)
        if migration is not None and migration.state is state:
            return migration
        await asyncio.sleep(0.005)
    raise AssertionError(f"{name} is not {state}: {migration}")


async def tables(domain, name="pets") -> list[dict]:
    """The points of each generation, the one that answers first."""
    spec = await domain.catalog.get(name, fresh=True)
    tables_points = []
    for generation in spec.generations:
        points = await domain.engine.scroll(
            spec.table_of(generation), after="", limit=9_999, with_embeddings=True
        )
        tables_points.append({point.id: point for point in points})
    return tables_points


def texts(count, **payload):
    return [NewPoint(f"{i:04d}", f"text {i}", payload) for i in range(count)]


def other_table(spec):
    return spec.table_of(spec.migration.other)


async def ready(domain, count=3):
    """A collection of texts whose migration is ready."""
    await domain.create(keep_sources=True)
    await domain.upsert("pets", *texts(count, year=1))
    await domain.migrator.start("pets", OTHER)
    await until(domain, MigrationState.READY)
    return await domain.catalog.get("pets", fresh=True)


def row(id, text, stamp, **payload):
    """A point as a gateway stores it."""
    return Point(id, payload, UNIT[0], Source("text", text.encode()), stamp=stamp)
