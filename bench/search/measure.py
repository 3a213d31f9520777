"""One engine at one size, in a process of its own: time, recall, memory and disk."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.engines import open_engine
from clipserve_gateway.index.values import Filter, TableSpec
from clipserve_gateway.types import Floats

from bench.search.data import FILTERS, SCHEMA, World, name, nearest, point

BATCH, IN_FLIGHT = 256, 8
"""As a client sends them: points of one call, and calls of one stream."""
TOP_K = 10
CALLERS = 8
LOAD_SECONDS = 5.0
REPEATS = 20
PAGE = 1_000
UNTIL_LOADED_SECONDS = 30.0

Facts = dict[str, Any]


async def measure(kind: str, points: int, dim: int, queries: int) -> Facts:
    """Figures of one engine; times in milliseconds unless they say otherwise, sizes in bytes."""
    with tempfile.TemporaryDirectory(prefix="search-bench-") as scratch:
        folder = Path(scratch)
        store, server = folder / "store", None
        if kind == "milvus":
            from testing.milvus_server import MilvusServer

            store.mkdir()
            server = await asyncio.to_thread(MilvusServer, store)
            await asyncio.to_thread(server.start)
        uri = server.uri if server else f"milvus-lite:{store}.db" if kind == "milvus-lite" else str(store)
        engine = open_engine(uri)
        try:
            facts = await figures(engine, World(dim), points, queries)
            pid = server.process.pid if server and server.process else os.getpid()
            facts["ram"] = resident(pid)
            facts["disk"] = disk(folder)
        finally:
            await engine.close()
            if server:
                server.kill()
    return facts | {"engine": kind, "points": points, "dim": dim} | peer(World(dim), points)


async def figures(engine: Engine, world: World, points: int, queries: int) -> Facts:
    """What an engine does, from the first point to the last search."""
    table = TableSpec(f"c_bench_{os.getpid()}", world.dim, SCHEMA)
    await engine.create_table(table)
    start = time.perf_counter()
    await ingest(engine, table, world, points)
    ingested = time.perf_counter()
    await engine.optimize(table)
    facts: Facts = {
        "ingest_per_s": points / (ingested - start),
        "index_s": time.perf_counter() - ingested,
        "indexed": (await engine.status(table)).indexed,
    }
    if engine.name == "milvus":
        # Its query node looks for finished indexes now and then.
        await asyncio.sleep(UNTIL_LOADED_SECONDS)
    for kind in ("picture", "text"):
        asked = world.queries(kind, queries)
        truth = nearest(world, points, asked, TOP_K)
        found = await searches(engine, table, asked, truth)
        facts |= {f"{kind}_{key}": value for key, value in found.items()}
    asked = world.queries("picture", queries)
    for label, (filter, every) in FILTERS.items():
        truth = nearest(world, points, asked, TOP_K, every)
        found = await searches(engine, table, asked, truth, filter)
        facts |= {f"filter {label}_{key}": value for key, value in found.items()}
    facts["qps"] = await load(engine, table, asked)
    some = [name(number) for number in range(0, points, max(1, points // TOP_K))][:TOP_K]
    single = [point(i, asked[i % len(asked)]) for i in range(REPEATS)]
    calls: dict[str, Callable[[int], Awaitable[object]]] = {
        "upsert_one": lambda i: engine.upsert(table, [single[i]]),
        "fetch_ten": lambda i: engine.fetch(table, some),
        "scroll_page": lambda i: engine.scroll(table, after=name(points // 2), limit=PAGE),
        "count": lambda i: engine.count(table),
    }
    for key, call in calls.items():
        facts[key] = median_ms(await timed(call, REPEATS))
    return facts


async def ingest(engine: Engine, table: TableSpec, world: World, points: int) -> None:
    """Writes all points, several batches under way at a time."""
    under_way: set[asyncio.Task[None]] = set()
    for first, rows in world.blocks(points):
        for offset in range(0, len(rows), BATCH):
            if len(under_way) == IN_FLIGHT:
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            batch = [point(first + offset + i, row) for i, row in enumerate(rows[offset : offset + BATCH])]
            under_way.add(asyncio.ensure_future(engine.upsert(table, batch)))
    await asyncio.gather(*under_way)


async def searches(
    engine: Engine,
    table: TableSpec,
    asked: Floats,
    truth: Sequence[set[str]],
    filter: Filter | None = None,
) -> Facts:
    """One caller: latencies, and the share of the true neighbors that were found."""
    times, recalls = [], []
    await engine.search(table, asked[0], top_k=TOP_K, filter=filter)
    for query, expected in zip(asked, truth, strict=True):
        start = time.perf_counter()
        hits = await engine.search(table, query, top_k=TOP_K, filter=filter)
        times.append(time.perf_counter() - start)
        if expected:
            recalls.append(len({hit.id for hit in hits} & expected) / len(expected))
    return {
        "p50": median_ms(times),
        "p95": 1000 * float(np.quantile(times, 0.95)),
        "recall": statistics.fmean(recalls) if recalls else None,
    }


async def load(engine: Engine, table: TableSpec, asked: Floats) -> float:
    """Searches a second of several callers who each wait for their answers."""
    done, end = 0, time.perf_counter() + LOAD_SECONDS

    async def caller(first: int) -> None:
        nonlocal done
        i = first
        while time.perf_counter() < end:
            await engine.search(table, asked[i % len(asked)], top_k=TOP_K)
            done, i = done + 1, i + CALLERS

    await asyncio.gather(*map(caller, range(CALLERS)))
    return done / LOAD_SECONDS


async def timed(call: Callable[[int], Awaitable[object]], times: int) -> list[float]:
    """Seconds of each call."""
    found = []
    for i in range(times):
        start = time.perf_counter()
        await call(i)
        found.append(time.perf_counter() - start)
    return found


def median_ms(times: Sequence[float]) -> float:
    """The median in milliseconds."""
    return 1000 * statistics.median(times)


def peer(world: World, points: int) -> Facts:
    """The plainest way to search, in the same process: numpy over all points in memory."""
    matrix = np.concatenate([rows for _, rows in world.blocks(points)])
    asked = world.queries("picture", REPEATS)

    def search(query: Floats) -> None:
        scores = matrix @ query
        best = np.argpartition(-scores, min(TOP_K, points - 1))[:TOP_K]
        best[np.argsort(-scores[best])]

    search(asked[0])
    times = []
    for query in asked:
        start = time.perf_counter()
        search(query)
        times.append(time.perf_counter() - start)
    return {"numpy_p50": median_ms(times)}


def resident(pid: int) -> int:
    """Bytes of memory that a process holds now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def disk(folder: Path) -> int:
    """Bytes on disk of what an engine wrote; a server's own program and logs are left out."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    skipped = {"bin", "logs", "configs", "run"}
    return sum(path.stat().st_blocks * 512 for path in files if not skipped & set(path.parts))
