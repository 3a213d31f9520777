"""Search by embedding: through the gateway, the engine asked directly, and all points compared in memory.

What stands between the gateway and the engine is told apart by two more: a gateway started on the points
that another one has written, and the engine behind the shortest gRPC server.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import clipserve
import numpy as np
from clipserve.v1 import clip_pb2, common_pb2
from rich.progress import track

from bench.search.data import World, name, nearest
from bench.speed import ROOT, messages
from bench.speed.scale import Bar, Scale
from bench.speed.systems import Clipserve, Lines, Load, clipserve_of, export
from bench.speed.turns import WARM, Turn, by_turns, ratio, written
from bench.speed.watch import Watched
from testing.service import Gateway, start_gateway

COLLECTION = "speed"
QUERIES, TOP_K = 256, 10
RECALL = 0.95
INDEX_SECONDS = 900.0
OURS, FRESH = "clipserve, which wrote the points", "clipserve, started on them"
SERVED, ENGINE, EXACT = "the engine behind ten lines of gRPC", "the engine's direct call", "numpy, exact"


def suite(model: str, scale: Scale, load: Load, folder: Path) -> tuple[dict[str, Any], list[Bar]]:
    """Times of one caller by turns, after a turn that does not count."""
    place, seconds = folder / "search", scale.seconds / 2
    with contextlib.ExitStack() as held:
        service = held.enter_context(clipserve_of(model, export(model), place))
        dim, ingest = fill(service, scale.points)
        file = load.requests("search", search_requests(World(dim)))
        fresh = held.enter_context(gateway_of(service, place / "data", folder))
        engine, served = held.enter_context(engine_of(place / "data", scale.points, dim, folder))

        def through(address: str, process: subprocess.Popen[Any]) -> Callable[[], Turn]:
            watched = Watched({"server": [process.pid]})
            return lambda: load.turn(address, messages.SEARCH, file, seconds, callers=1, watched=watched)

        def direct(what: str) -> Turn:
            found = engine.ask({"what": what, "seconds": seconds})
            times = np.array(found["ms"])
            times = times[times.cumsum() > WARM * seconds * 1000]
            p50, p95, p99 = (float(np.percentile(times, q)) for q in (50, 95, 99))
            return Turn(1000 / float(times.mean()), p50, p95, p99, cpu_ms={"engine": found["cpu_ms"]})

        systems = {
            OURS: through(service.service.address, service.service.process),
            FRESH: through(fresh.address, fresh.process),
            SERVED: through(served, engine.process),
            ENGINE: lambda: direct("engine"),
            EXACT: lambda: direct("exact"),
        }
        recall = min(recall_of(it.address, scale.points, dim) for it in (service.service, fresh))
        by_turns(systems, 1)
        turns = by_turns(systems, scale.more_rounds)
    facts = {
        "points": scale.points,
        "dim": dim,
        "ingest_per_second": ingest,
        "recall": recall,
        "turns": written(turns),
    }
    what = f"Search by embedding, {scale.points:,} points, p50 of the engine's"
    return facts, [
        Bar("Search by embedding, share of the true ten that are found", recall, RECALL),
        Bar(what, ratio(turns[OURS], turns[ENGINE], "p50"), 1.3, most=True),
    ]


def fill(service: Clipserve, points: int) -> tuple[int, float]:
    """A collection of so many points with its index; its dimension, and points written a second."""
    with clipserve.Client(service.service.address, timeout=120) as client:
        dim = client.create_collection(COLLECTION).model.embed_dim
        blocks = World(dim).blocks(points)
        begin, steps = time.perf_counter(), points // 10_000
        for first, rows in track(blocks, f"writing {points:,} points", total=steps, console=console()):
            batch = [clipserve.Point(name(first + n), embedding=row) for n, row in enumerate(rows)]
            client.upsert(COLLECTION, batch)
        rate = points / (time.perf_counter() - begin)
        click.echo("· waiting for the index", err=True)
        end = time.monotonic() + INDEX_SECONDS
        while (status := client.get_collection(COLLECTION).index_status) is None or status.indexed < points:
            if time.monotonic() > end:
                raise click.ClickException(f"the index has only {status}")
            time.sleep(1)
    return dim, rate


def recall_of(address: str, points: int, dim: int) -> float:
    """The share of the exact nearest ten that a gateway finds."""
    world = World(dim)
    queries = world.queries("picture", QUERIES)
    with clipserve.Client(address) as client:
        found = [{hit.id for hit in client.search(COLLECTION, embedding=it, top_k=TOP_K)} for it in queries]
    truth = nearest(world, points, queries, TOP_K)
    return statistics.fmean(len(ids & true) / TOP_K for ids, true in zip(found, truth, strict=True))


def console() -> Any:
    """Where progress is shown: standard error."""
    from rich.console import Console

    return Console(stderr=True)


def search_requests(world: World) -> list[bytes]:
    """Searches of ten hits each."""
    return [
        clip_pb2.SearchRequest(
            collection=COLLECTION,
            embedding=common_pb2.Embedding(float32_le=query.astype("<f4").tobytes()),
            top_k=TOP_K,
        ).SerializeToString()
        for query in world.queries("picture", QUERIES)
    ]


@contextlib.contextmanager
def gateway_of(service: Clipserve, data: Path, folder: Path) -> Iterator[Gateway]:
    """Another gateway beside the service's own, on its store and Triton."""
    gateway = start_gateway(service.service.triton, str(data), folder)
    try:
        yield gateway
    finally:
        gateway.stop()


@contextlib.contextmanager
def engine_of(store: Path, points: int, dim: int, folder: Path) -> Iterator[tuple[Lines, str]]:
    """The engine's own process, ready, and the address at which it is served."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "bench.speed.engine", store, points, dim]
    engine = Lines(command, folder / "engine.log", {"PYTHONPATH": paths})
    port = engine.read()["port"]
    try:
        yield engine, f"127.0.0.1:{port}"
    finally:
        engine.stop()
