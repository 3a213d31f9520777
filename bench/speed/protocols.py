"""What HTTP costs: Embed by OpenAI's API and as JSON against gRPC; gRPC beside an API port without calls."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from bench.speed import messages
from bench.speed.peers import wait_for
from bench.speed.photos import photographs
from bench.speed.scale import Bar, Scale
from bench.speed.systems import Clipserve, Load, clipserve_of, export
from bench.speed.texts import mixed_texts
from bench.speed.turns import Turn, by_turns, ratio, written
from bench.speed.watch import Watched
from testing.service import Gateway, start_gateway

CALLERS = 8
BATCH = 16
TOKENS = (8, 24)
PHOTOS = 256
GRPC, BASE64, FLOAT, JSON = "gRPC", "OpenAI, base64", "OpenAI, float", "Embed as JSON"
ALONE, BESIDE = "no API port", "an API port without calls"
BOUND = 0.97
SHORTER = 4
"""Turns of the last comparison are so many times shorter, and as many times more. The speed of the machine
changes within seconds by more than the bound allows; medians over few long turns ranged from 0.86 to 1.01."""


def suite(model: str, scale: Scale, load: Load, folder: Path) -> tuple[dict[str, Any], list[Bar]]:
    """Calls of one text, sixteen texts and one picture by each protocol, by turns."""
    repository, folder = export(model), folder / f"{model.lower()}-protocols"
    with clipserve_of(model, repository, folder) as service:
        facts: dict[str, Any] = {"model": model, "callers": CALLERS, "turns": {}}
        for kind, tower, requests in kinds(model.lower()):
            click.echo(f"· {model}: {kind} by each protocol", err=True)
            turns = by_turns(systems(service, kind, tower, requests, scale, load), scale.rounds)
            facts["turns"][kind] = written(turns)
        turns = unused(service, load, scale, folder)
    facts["unused"] = written(turns)
    what = f"{model}: texts/s by gRPC beside an API port without calls, of those without the port"
    return facts, [Bar(what, ratio(turns[BESIDE], turns[ALONE]), BOUND)]


def kinds(model: str) -> Iterator[tuple[str, str, dict[str, list[bytes]]]]:
    """The kind of call, its tower, and its requests for each protocol."""
    texts, photos = mixed_texts(*TOKENS), photographs(PHOTOS)
    for kind, items in (("one text", 1), (f"{BATCH} texts", BATCH)):
        calls = messages.embed_texts(texts, items)
        openai = functools.partial(messages.openai_texts, model, texts, items=items)
        yield kind, "text", by_protocol(calls, openai)
    openai = functools.partial(messages.openai_images, model, photos)
    yield "one picture", "image", by_protocol(messages.embed_images(photos), openai)


def by_protocol(calls: list[bytes], openai: Callable[..., list[bytes]]) -> dict[str, list[bytes]]:
    """The same calls in each protocol; `openai` makes them with an encoding_format."""
    return {
        GRPC: calls,
        BASE64: openai(encoding_format="base64"),
        FLOAT: openai(encoding_format="float"),
        JSON: messages.as_json(calls),
    }


def systems(
    service: Clipserve, kind: str, tower: str, requests: dict[str, list[bytes]], scale: Scale, load: Load
) -> dict[str, Callable[[], Turn]]:
    """One turn of each protocol."""
    api, watched = service.service.api, service.watched(tower, load)
    targets = {
        GRPC: (service.service.address, messages.EMBED),
        BASE64: (f"{api}/v1/embeddings", ""),
        FLOAT: (f"{api}/v1/embeddings", ""),
        JSON: (api + messages.EMBED, ""),
    }
    return {
        name: functools.partial(
            load.turn,
            *targets[name],
            load.requests(f"{kind}, {name}", calls),
            scale.seconds,
            callers=CALLERS,
            watched=watched,
        )
        for name, calls in requests.items()
    }


def unused(service: Clipserve, load: Load, scale: Scale, folder: Path) -> dict[str, list[Turn]]:
    """gRPC calls of one text, to a gateway with an API port that nobody calls and to one without."""
    click.echo("· gRPC beside an API port without calls", err=True)
    file = load.requests("unused", messages.embed_texts(mixed_texts(*TOKENS)))
    options = {ALONE: ("--api-port", ""), BESIDE: ("--api-port", "0")}
    with contextlib.ExitStack() as held:
        gateways: dict[str, Gateway] = {}
        for name, words in options.items():
            place = folder / name.replace(" ", "-")
            place.mkdir()
            gateway = start_gateway(service.service.triton, str(place / "data"), place, *words)
            held.callback(gateway.stop)
            wait_for(f"{gateway.http}/readyz", gateway.process, gateway.log)
            gateways[name] = gateway
        systems: dict[str, Callable[[], Turn]] = {
            name: functools.partial(
                load.turn,
                gateway.address,
                messages.EMBED,
                file,
                scale.seconds / SHORTER,
                callers=CALLERS,
                watched=Watched({"gateway": [gateway.process.pid], "load": [load.lines.process.pid]}),
            )
            for name, gateway in gateways.items()
        }
        return by_turns(systems, scale.more_rounds * SHORTER)
