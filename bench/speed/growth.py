"""Cost as calls grow: pictures and texts by items of a call."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bench.speed import messages
from bench.speed.photos import photographs
from bench.speed.scale import Bar, Scale
from bench.speed.systems import Load, clipserve_of, export
from bench.speed.texts import short_prompts

CALLERS = 2


def suite(model: str, scale: Scale, load: Load, folder: Path) -> tuple[dict[str, Any], list[Bar]]:
    """Items a second and times of two callers, for calls of ever more items."""
    click.echo(f"· {model}: items of a call", err=True)
    photos, texts = photographs(1024), short_prompts()
    facts: dict[str, Any] = {"model": model, "pictures": [], "texts": []}
    with clipserve_of(model, export(model), folder / "growth") as service:
        for items in scale.items:
            for kind, made in (
                ("pictures", messages.embed_images(photos, items)),
                ("texts", messages.embed_texts(texts, items)),
            ):
                file = load.requests(f"{items} {kind}", made)
                # A call of many pictures takes seconds: several of them must end.
                seconds = scale.seconds * (items / 32 if items > 32 and kind == "pictures" else 1)
                turn = load.turn(
                    service.service.address, messages.EMBED, file, seconds, items=items, callers=CALLERS
                )
                facts[kind].append({"items": items, **asdict(turn)})
    return facts, []
