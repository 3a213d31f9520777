"""The process that is killed: a few workers that write, and upkeep that never rests."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import random
from pathlib import Path
from typing import Any

from clipserve_gateway.index.lance import indexes, lease, maintenance, maintenance_schedule
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.values import And, Eq

from bench.torture.ledger import GROUPS, TABLE, Ledger, Log, point, value

WORKERS = 6
IDS = 200
"""Of each worker: few, so that they are written over and over."""


async def torment(folder: Path, seed: int) -> None:
    """Writes until it is killed. Prints a line with the first acknowledgement."""
    rush_upkeep()
    ledger = Ledger(folder / "log")
    engine = LanceEngine(str(folder / "store"))
    if TABLE.name not in await engine.tables():
        await engine.create_table(TABLE)
        await seeded(engine, folder)
        ledger = Ledger(folder / "log")
    log, serials = Log(folder / "log"), itertools.count(ledger.serial + 1)
    first = asyncio.Event()
    workers = [
        Worker(str(n), engine, log, serials, ledger.documents, seed * WORKERS + n, first).run()
        for n in range(WORKERS)
    ]
    await asyncio.gather(*workers, tell(first), keep_optimizing(engine, random.Random(seed)))


def rush_upkeep() -> None:
    """Indexes from a few rows on, files merged after a few commits, old versions gone after a
    second, and the lease of the writer that was killed before after another."""
    indexes.ID_INDEX_FROM_ROWS = 100
    indexes.VECTOR_INDEX_FROM_ROWS = 400
    maintenance.KEEP_VERSIONS = dt.timedelta(seconds=1)
    maintenance.UNINDEXED_ROWS = 50
    maintenance.SMALL_SEGMENT_ROWS = 200
    maintenance_schedule.COMMITS = 10
    lease.SECONDS = 1.0
    lease.RENEW_SECONDS = 0.3


async def seeded(engine: LanceEngine, folder: Path) -> None:
    """Points enough for an index, before the first operation."""
    first = {f"{worker}-{n}": 0 for worker in range(WORKERS) for n in range(IDS)}
    await engine.upsert(TABLE, [point(id, serial) for id, serial in first.items()])
    Log(folder / "log").write({"settled": first, "documents": {}})


async def tell(first: asyncio.Event) -> None:
    """Prints one line; more would fill the pipe."""
    await first.wait()
    print("acknowledged", flush=True)


async def keep_optimizing(engine: LanceEngine, chance: random.Random) -> None:
    """Upkeep by demand, on top of the writers' own."""
    while True:
        await asyncio.sleep(chance.uniform(0, 0.3))
        with contextlib.suppress(Exception):
            await engine.optimize(TABLE)


class Worker:
    """One operation after the other, on ids of its own."""

    def __init__(
        self,
        name: str,
        engine: LanceEngine,
        log: Log,
        serials: itertools.count[int],
        versions: dict[str, int],
        seed: int,
        acknowledged: asyncio.Event,
    ) -> None:
        self._acknowledged = acknowledged
        self._name = name
        self._engine = engine
        self._log = log
        self._serials = serials
        self._version = versions.get(f"document-{name}", 0)
        self._chance = random.Random(seed)

    async def run(self) -> None:
        """Never ends."""
        while True:
            operation = self._next()
            self._log.write(operation)
            await self._do(operation)
            self._log.write({"ack": self._name})
            self._acknowledged.set()

    def _next(self) -> dict[str, Any]:
        chance = self._chance
        kinds = {"upsert": 6, "batch": 2, "insert": 1, "delete": 2, "delete where": 0.3, "document": 1}
        [kind] = chance.choices(list(kinds), list(kinds.values()))
        operation: dict[str, Any] = {"kind": kind, "worker": self._name, "serial": next(self._serials)}
        if kind == "document":
            return operation | {"ids": [f"document-{self._name}"], "serial": self._version + 1}
        if kind == "delete where":
            return operation | {"group": chance.randrange(GROUPS)}
        some = {"batch": chance.randint(2, 60), "insert": 10, "delete": chance.randint(1, 5)}.get(kind, 1)
        return operation | {"ids": [f"{self._name}-{n}" for n in chance.sample(range(IDS), some)]}

    async def _do(self, operation: dict[str, Any]) -> None:
        kind, serial, ids = operation["kind"], operation["serial"], operation.get("ids", [])
        if kind == "document":
            key, version = ids[0], self._version
            if not await self._engine.put_document(key, value(serial), version=version):
                raise SystemExit(f"{key} is no longer at version {version}")
            self._version += 1
        elif kind == "delete":
            await self._engine.delete(TABLE, ids)
        elif kind == "delete where":
            mine = And((Eq("worker", int(self._name)), Eq("group", operation["group"])))
            await self._engine.delete_where(TABLE, mine)
        else:
            points = [point(id, serial) for id in ids]
            await self._engine.upsert(TABLE, points, replace=kind != "insert")
