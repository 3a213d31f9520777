"""Pictures to embeddings: against the ceiling, Triton alone, the way of blog posts, and peers."""

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
from bench.speed.peers import Peer, peers_of
from bench.speed.photos import folder_of, photographs
from bench.speed.scale import Bar, Scale
from bench.speed.systems import Clipserve, Lines, Load, clipserve_of, export, worker_of
from bench.speed.turns import WARM, Turn, answered, beyond_decoding, by_turns, median, ratio, written
from bench.speed.watch import idle_shares

PHOTOS = 1024
"""More than callers: equal pictures under way are computed once."""
CALLERS = 16
BATCHES = (8, 16, 32)
AGREE = 16
SLICE = 1.0
ENOUGH = 100
"""Calls that a 99th percentile is taken of, at least."""
LONGEST = 60.0
SETTLE = 10.0
"""Seconds without calls before idle cost is measured."""
PEER_AGREE = 4

CEILING, OURS, TRITON, BLOG = "ceiling", "clipserve", "Triton alone", "open_clip, one by one"


def suite(model: str, scale: Scale, load: Load, folder: Path) -> tuple[dict[str, Any], list[Bar]]:
    """Throughput by turns, and times against offered load."""
    photos, repository = photographs(PHOTOS), export(model)
    with contextlib.ExitStack() as held:
        service = held.enter_context(clipserve_of(model, repository, folder / model.lower()))
        worker = held.enter_context(worker_of(model, repository, folder_of(), folder))
        peers = held.enter_context(peers_of(model, folder))
        senders = senders_of(service, load, photos, peers)
        click.echo(f"· {model}: looking for the ceiling's fastest way", err=True)
        ways = ceilings(worker, scale)
        best = {"batch": ways[0]["batch"], "layout": ways[0]["layout"]}
        systems: dict[str, Callable[[], Turn]] = {
            CEILING: lambda: Turn(worker.ask({"do": "ceiling", "seconds": scale.seconds, **best})["rate"]),
            **{
                name: functools.partial(send, scale.seconds, callers=CALLERS)
                for name, send in senders.items()
            },
            BLOG: lambda: Turn(worker.ask({"do": "blog", "seconds": scale.seconds})["rate"]),
        }
        others = {"the ceiling": decoded_whole(worker)}
        for peer in peers:
            if peer.same_weights:
                others[peer.name] = np.stack([peer.embed(photo) for photo in photos[:PEER_AGREE]])
        agreements = {who: agreement_of(service, photos, theirs) for who, theirs in others.items()}
        by_turns(systems, 1)
        click.echo(f"· {model}: {scale.more_rounds} rounds of {len(systems)} systems", err=True)
        turns = by_turns(systems, scale.more_rounds)
        peak = median(turns[OURS])
        offered = sweep(senders, peak, scale, model)
        concurrency = {
            callers: asdict(answered(f"{callers} callers", senders[OURS](scale.seconds, callers=callers)))
            for callers in scale.concurrency
        }
        click.echo(f"· {model}: what an idle gateway takes", err=True)
        idle = idle_shares(service.watched("image", load), SETTLE, scale.idle)
    facts = {
        "model": model,
        "ceilings": ways,
        "agreements": agreements,
        "turns": written(turns),
        "offered": offered,
        "concurrency": concurrency,
        "idle": idle,
    }
    names = [peer.name for peer in peers]
    return facts, [*bars(model, turns, offered, names, agreements), idle_bar(model, idle)]


def idle_bar(model: str, idle: dict[str, float]) -> Bar:
    """What was promised of a gateway that nobody calls."""
    return Bar(f"{model}: an idle gateway, % of a core", 100 * idle["gateway"], 1.0, most=True)


def senders_of(
    service: Clipserve, load: Load, photos: list[bytes], peers: list[Peer]
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
    for peer in peers:
        requests = load.requests(peer.name, [peer.request(photo) for photo in photos])
        found[peer.name] = functools.partial(turn_of_peer, load, peer, requests)
    return found


def turn_of_peer(
    load: Load, peer: Peer, requests: str, seconds: float, callers: int = 0, rate: float = 0.0
) -> Turn:
    """A turn of a server that sleeps before and after."""
    with peer.awake():
        return load.turn(peer.url, "", requests, seconds, callers=callers, rate=rate)


def ceilings(worker: Lines, scale: Scale) -> list[dict[str, Any]]:
    """The worker's ways and their rates, by the better of two looks at each; the fastest first."""
    layouts = worker.ask({"do": "layouts"})["layouts"]
    ways = [{"batch": batch, "layout": layout} for batch in BATCHES for layout in layouts]
    seconds = max(SLICE, scale.seconds / 2)
    worker.ask({"do": "ceiling", "seconds": SLICE, **ways[0]})
    looks = [
        [worker.ask({"do": "ceiling", "seconds": seconds, **way})["rate"] for way in ways] for _ in range(2)
    ]
    best = np.max(looks, axis=0)
    return sorted(
        ({**way, "rate": float(rate)} for way, rate in zip(ways, best, strict=True)),
        key=lambda way: -way["rate"],
    )


def decoded_whole(worker: Lines, count: int = AGREE) -> np.ndarray:
    """Embeddings of the worker's first pictures, float32 [count, D]."""
    return np.array(worker.ask({"do": "embed", "count": count})["embeddings"])


def agreement_of(service: Clipserve, photos: list[bytes], theirs: np.ndarray) -> float:
    """The lowest cosine of our embeddings of the first pictures and of others'."""
    with clipserve.Client(service.service.address) as client:
        ours = client.embed_images(photos[: len(theirs)]).embeddings
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
            turn = answered(f"{name}, at {part:.0%} of our peak", send(seconds, rate=part * peak))
            found.append({"system": name, "part": part, "offered": part * peak, **asdict(turn)})
    return found


def bars(
    model: str,
    turns: dict[str, list[Turn]],
    offered: list[dict[str, Any]],
    peers: list[str],
    agreements: dict[str, float],
) -> list[Bar]:
    """What was promised of pictures."""
    beyond = median([Turn(beyond_decoding(turn.cpu_ms)) for turn in turns[OURS]])
    found = [
        *(Bar(f"{model}: lowest cosine to {who}'s embeddings", it, 0.999) for who, it in agreements.items()),
        Bar(f"{model}: pictures/s, of the ceiling", ratio(turns[OURS], turns[CEILING]), 0.92),
        Bar(f"{model}: the gateway's CPU ms a picture beyond decoding", beyond, 1.0, most=True),
    ]
    if model != "demo":
        found.append(Bar(f"{model}: of open_clip one by one", ratio(turns[OURS], turns[BLOG]), 1.4))
    for peer in peers:
        found.append(Bar(f"{model}: of {peer}", ratio(turns[OURS], turns[peer]), 1.05))
        for part in sorted({point["part"] for point in offered}):
            times = {p["system"]: p["p99"] for p in offered if p["part"] == part}
            if part <= 0.8:
                what = f"{model}: p99 of {peer}'s, at {part:.0%} of our peak"
                found.append(Bar(what, times[OURS] / times[peer], 1.0, most=True))
    return found
