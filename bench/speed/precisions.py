"""The same model in fp32 and in bf16, by turns with the ceiling of each and with peers.

Only on a processor for which `clipserve-export --precision auto` takes bf16.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from clipserve_exporter.precision import choose, processor_flags

from bench.speed import messages
from bench.speed.images import (
    AGREE,
    CALLERS,
    CEILING,
    PHOTOS,
    agreement_of,
    ceilings,
    decoded_whole,
    turn_of_peer,
)
from bench.speed.peers import peers_of
from bench.speed.photos import folder_of, photographs
from bench.speed.scale import Bar, Scale
from bench.speed.systems import Clipserve, Load, clipserve_of, export, worker_of
from bench.speed.texts import CALLERS as TEXT_CALLERS
from bench.speed.texts import MIXED, SHORT, mixed_texts, short_prompts
from bench.speed.turns import Turn, by_turns, ratio, written

PRECISIONS = ("fp32", "bf16")
BLOG = "open_clip, one by one"
OF_PEERS = {"infinity": 3.0, BLOG: 4.0}
"""Rates of bf16 that are promised, as multiples of these systems' rates."""


def suite(model: str, scale: Scale, load: Load, folder: Path) -> tuple[dict[str, Any] | None, list[Bar]]:
    """Pictures and texts a second in both precisions; nothing on a processor without bf16."""
    choice = choose("python", "cpu", processor_flags())
    if choice.precision != "bf16":
        click.echo(f"· {model}: no bf16 here: {choice.reason}", err=True)
        return None, []
    photos, whole = photographs(PHOTOS), {}
    with contextlib.ExitStack() as held:
        services: dict[str, Clipserve] = {}
        systems: dict[str, Callable[[], Turn]] = {}
        for precision in PRECISIONS:
            repository, place = export(model, precision=precision), folder / precision
            services[precision] = held.enter_context(clipserve_of(model, repository, place))
            worker = held.enter_context(worker_of(model, repository, folder_of(), place))
            best = ceilings(worker, scale)[0]
            order = {
                "do": "ceiling",
                "seconds": scale.seconds,
                "batch": best["batch"],
                "layout": best["layout"],
            }
            systems[f"{CEILING}, {precision}"] = functools.partial(answer_of, worker.ask, order)
            systems[ours(precision)] = sender(
                services[precision], load, "image", messages.embed_images(photos), scale, CALLERS
            )
            whole[precision] = decoded_whole(worker, AGREE)
        systems[BLOG] = functools.partial(answer_of, worker.ask, {"do": "blog", "seconds": scale.seconds})
        for peer in held.enter_context(peers_of(model, folder)):
            requests = load.requests(peer.name, [peer.request(photo) for photo in photos])
            systems[peer.name] = functools.partial(
                turn_of_peer, load, peer, requests, scale.seconds, callers=CALLERS
            )
        agreement = agreement_of(services["bf16"], photos, whole["fp32"])
        by_turns(systems, 1)
        click.echo(f"· {model}: {scale.rounds} rounds of {len(systems)} systems", err=True)
        pictures = by_turns(systems, scale.rounds)
        texts = {
            kind: by_turns(
                {
                    precision: sender(
                        service, load, "text", messages.embed_texts(found), scale, TEXT_CALLERS, kind
                    )
                    for precision, service in services.items()
                },
                scale.rounds,
            )
            for kind, found in (
                (f"up to {SHORT} tokens", short_prompts()),
                (f"{MIXED[0]} to {MIXED[1]} tokens", mixed_texts(*MIXED)),
            )
        }
    facts = {
        "model": model,
        "reason": choice.reason,
        "agreement": agreement,
        "pictures": written(pictures),
        "texts": {kind: written(turns) for kind, turns in texts.items()},
    }
    return facts, bars(model, agreement, pictures)


def ours(precision: str) -> str:
    """The name of the service in a precision."""
    return f"clipserve, {precision}"


def answer_of(ask: Callable[[dict[str, Any]], dict[str, Any]], order: dict[str, Any]) -> Turn:
    """The turn of a worker."""
    return Turn(ask(order)["rate"])


def sender(
    service: Clipserve,
    load: Load,
    tower: str,
    requests: list[bytes],
    scale: Scale,
    callers: int,
    kind: str = "pictures",
) -> Callable[[], Turn]:
    """A turn of the service."""
    file = load.requests(f"{service.model} {kind}", requests)
    return functools.partial(
        load.turn,
        service.service.address,
        messages.EMBED,
        file,
        scale.seconds,
        callers=callers,
        watched=service.watched(tower, load),
    )


def bars(model: str, agreement: float, pictures: Mapping[str, list[Turn]]) -> list[Bar]:
    """What is promised of bf16."""
    rates = [
        Bar(f"{model}: pictures/s in bf16, of {peer}", ratio(pictures[ours("bf16")], pictures[peer]), bound)
        for peer, bound in OF_PEERS.items()
        if peer in pictures
    ]
    return [Bar(f"{model}: lowest cosine of bf16 to the ceiling's fp32", agreement, 0.999), *rates]
