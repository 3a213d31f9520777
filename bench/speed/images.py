"""Pictures to embeddings: against the ceiling, Triton alone, the way of blog posts, and a peer."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import clipserve
import numpy as np

from bench.speed import messages
from bench.speed.photos import folder_of, photographs
from bench.speed.scale import Bar, Scale
from bench.speed.systems import Clipserve, Lines, Load, clipserve_of, export, infinity, worker_of
from bench.speed.turns import WARM, Turn, beyond_decoding, by_turns, median, ratio, written

PHOTOS = 1024
"""More than callers: equal pictures under way are computed once."""
CALLERS = 16
BATCHES = (8, 16, 32)
AGREE = 16
SLICE = 1.0
ENOUGH = 100
"""Calls that a 99th percentile is taken of, at least."""
LONGEST = 60.0
PEER_MODEL = "build/bench/infinity-vit-b-32"

CEILING, OURS, TRITON, BLOG, PEER = (
    "ceiling",
    "clipserve",
    "Triton alone",
    "open_clip, one by one",
    "infinity",
)


def suite(
    model: str, scale: Scale, load: Load, folder: Path, *, peer: bool
) -> tuple[dict[str, Any], list[Bar]]:
    """Throughput by turns, and times against offered load."""
    photos, repository = photographs(PHOTOS), export(model)
    with contextlib.ExitStack() as held:
        service = held.enter_context(clipserve_of(model, repository, folder / model.lower()))
        worker = held.enter_context(worker_of(model, repository, folder_of(), folder))
        url = held.enter_context(infinity(folder)) if peer else None
        senders = senders_of(service, load, photos, url)
        best = best_ceiling(worker, scale)
        systems: dict[str, Callable[[], Turn]] = {
            CEILING: lambda: Turn(worker.ask({"do": "ceiling", "seconds": scale.seconds, **best})["rate"]),
            **{
                name: functools.partial(send, scale.seconds, callers=CALLERS)
                for name, send in senders.items()
            },
            BLOG: lambda: Turn(worker.ask({"do": "blog", "seconds": scale.seconds})["rate"]),
        }
        agreement = agreement_of(service, worker, photos)
        for system in systems.values():
            system()
        click.echo(f"· {model}: {scale.more_rounds} rounds of {len(systems)} systems", err=True)
        turns = by_turns(systems, scale.more_rounds)
        peak = median(turns[OURS])
        offered = sweep(senders, peak, scale, model)
        concurrency = {
            callers: asdict(senders[OURS](scale.seconds, callers=callers)) for callers in scale.concurrency
        }
    facts = {
        "model": model,
        "ceiling": best,
        "agreement": agreement,
        "turns": written(turns),
        "offered": offered,
        "concurrency": concurrency,
    }
    return facts, bars(model, turns, offered, agreement)


def senders_of(
    service: Clipserve, load: Load, photos: list[bytes], url: str | None
) -> dict[str, Callable[..., Turn]]:
    """What measures each server, given seconds and callers or a rate."""
    ours = load.requests(f"{service.model}-embed", messages.embed_images(photos))
    triton = load.requests(
        f"{service.model}-infer", [messages.infer_image(service.model, it) for it in photos]
    )
    watched = service.watched("image", load)
    found: dict[str, Callable[..., Turn]] = {
        OURS: functools.partial(load.turn, service.service.address, messages.EMBED, ours, watched=watched),
        TRITON: functools.partial(load.turn, service.service.triton, messages.INFER, triton, watched=watched),
    }
    if url:
        peer = load.requests("peer", messages.peer_images(photos, PEER_MODEL))
        found[PEER] = functools.partial(load.turn, url, "", peer)
    return found


def best_ceiling(worker: Lines, scale: Scale) -> dict[str, Any]:
    """The way in which the worker is fastest."""
    ways = [{"batch": batch, "overlap": overlap} for batch in BATCHES for overlap in (False, True)]
    seconds = max(SLICE, scale.seconds / 2)
    worker.ask({"do": "ceiling", "seconds": SLICE, **ways[0]})
    return max(ways, key=lambda way: worker.ask({"do": "ceiling", "seconds": seconds, **way})["rate"])


def agreement_of(service: Clipserve, worker: Lines, photos: list[bytes], count: int = AGREE) -> float:
    """The lowest cosine of our embeddings and the ceiling's."""
    theirs = np.array(worker.ask({"do": "embed", "count": count})["embeddings"])
    with clipserve.Client(service.service.address) as client:
        ours = client.embed_images(photos[:count]).embeddings
    return float((ours * theirs).sum(1).min())


def sweep(
    senders: dict[str, Callable[..., Turn]], peak: float, scale: Scale, model: str
) -> list[dict[str, Any]]:
    """Times of all servers at the same offered loads, as parts of what ours can do with callers that wait."""
    click.echo(f"· {model}: times against offered load", err=True)
    found = []
    for part in scale.offered:
        seconds = max(scale.seconds * scale.longer, min(ENOUGH / (1 - WARM) / (part * peak), LONGEST))
        for name, send in senders.items():
            turn = send(seconds, rate=part * peak)
            found.append({"system": name, "part": part, "rate": part * peak, **asdict(turn)})
    return found


def bars(
    model: str,
    turns: dict[str, list[Turn]],
    offered: list[dict[str, Any]],
    agreement: float,
) -> list[Bar]:
    """What was promised of pictures."""
    beyond = median([Turn(beyond_decoding(turn.cpu_ms)) for turn in turns[OURS]])
    found = [
        Bar(f"{model}: lowest cosine to the ceiling's embeddings", agreement, 0.999),
        Bar(f"{model}: pictures/s, of the ceiling", ratio(turns[OURS], turns[CEILING]), 0.92),
        Bar(f"{model}: the gateway's CPU ms a picture beyond decoding", beyond, 1.0, most=True),
    ]
    if model != "demo":
        found.append(Bar(f"{model}: of open_clip one by one", ratio(turns[OURS], turns[BLOG]), 1.4))
    if PEER in turns:
        found.append(Bar(f"{model}: of infinity", ratio(turns[OURS], turns[PEER]), 1.05))
        for part in sorted({point["part"] for point in offered}):
            times = {p["system"]: p["p99"] for p in offered if p["part"] == part and p["p99"]}
            if part <= 0.8 and OURS in times and PEER in times:
                what = f"{model}: p99 of infinity's, at {part:.0%} of our peak"
                found.append(Bar(what, times[OURS] / times[PEER], 1.0, most=True))
    return found
