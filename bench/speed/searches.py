"""Search by embedding: through the gateway, the engine asked directly, and all points compared in memory."""

from __future__ import annotations

import contextlib
import functools
import os
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
from search_data import World, name

from bench.speed import messages
from bench.speed.scale import Bar, Scale
from bench.speed.systems import Clipserve, Lines, Load, clipserve_of, export
from bench.speed.turns import Turn, by_turns, ratio, written

COLLECTION = "speed"
QUERIES = 256
INDEX_SECONDS = 900.0
OURS, ENGINE, EXACT = "clipserve", "the engine's direct call", "numpy, exact"


def suite(model: str, scale: Scale, load: Load, folder: Path) -> tuple[dict[str, Any], list[Bar]]:
    """Times of one caller by turns."""
    place = folder / "search"
    with clipserve_of(model, export(model), place) as service:
        dim, ingest = fill(service, scale.points)
        world = World(dim)
        file = load.requests("search", search_requests(world))
        ours = functools.partial(
            load.turn, service.service.address, messages.SEARCH, file, scale.seconds / 2, callers=1
        )
        with engine_of(place / "data", scale.points, dim, folder) as engine:

            def direct(what: str) -> Turn:
                times = np.array(engine.ask({"what": what, "seconds": scale.seconds / 2})["ms"])
                p50, p95, p99 = (float(np.percentile(times, q)) for q in (50, 95, 99))
                return Turn(1000 / float(times.mean()), p50, p95, p99)

            systems: dict[str, Callable[[], Turn]] = {
                OURS: ours,
                ENGINE: lambda: direct("engine"),
                EXACT: lambda: direct("exact"),
            }
            turns = by_turns(systems, scale.more_rounds)
    facts = {
        "points": scale.points,
        "dim": dim,
        "ingest_per_second": ingest,
        "turns": written(turns),
    }
    what = f"Search by embedding, {scale.points:,} points, p50 of the engine's"
    return facts, [Bar(what, ratio(turns[OURS], turns[ENGINE], "p50"), 1.3, most=True)]


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
            top_k=10,
        ).SerializeToString()
        for query in world.queries("picture", QUERIES)
    ]


@contextlib.contextmanager
def engine_of(store: Path, points: int, dim: int, folder: Path) -> Iterator[Lines]:
    """The engine's own process, ready."""
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, Path(__file__).parent / "engine.py", store, points, dim]
    engine = Lines(command, folder / "engine.log", {"PYTHONPATH": paths})
    engine.read()
    try:
        yield engine
    finally:
        engine.stop()
