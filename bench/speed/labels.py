"""Label sets: what building one takes, and what classifying by a warm one adds."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import clipserve
import numpy as np
from clipserve.labels import label_set

from bench.speed import messages
from bench.speed.photos import folder_of, photographs
from bench.speed.scale import Bar, Scale
from bench.speed.systems import Clipserve, Lines, Load, clipserve_of, export, worker_of
from bench.speed.turns import Turn, by_turns, median, ratio, written

LABELS = 1_000
TEMPLATES = 80
BUILD_SECONDS = 1_800.0


def suite(model: str, scale: Scale, load: Load, folder: Path) -> tuple[dict[str, Any], list[Bar]]:
    """Both, and Classify against the number of labels."""
    repository, photos = export(model), photographs(64)
    with (
        clipserve_of(model, repository, folder / f"{model.lower()}-labels") as service,
        worker_of(model, repository, folder_of(), folder) as worker,
    ):
        built = build(service, worker, scale, model)
        turns, growth = warm(service, load, photos, scale, model)
    facts = {"model": model, "built": built, "growth": growth}
    facts["turns"] = written(turns)
    classify = turns[f"Classify, {LABELS:,} labels"]
    return facts, [
        Bar(f"{model}: label embeddings, lowest cosine to open_clip's", built["agreement"], 0.999),
        Bar(f"{model}: a label set's build, open_clip's time of ours", built["gain"], 5.0),
        Bar(
            f"{model}: Classify by {LABELS:,} warm labels, p50 of Embed's",
            ratio(classify, turns["Embed"], "p50"), 1.1, most=True,
        ),
    ]  # fmt: skip


def build(service: Clipserve, worker: Lines, scale: Scale, model: str) -> dict[str, Any]:
    """Seconds a label, with 80 templates, here and by open_clip's builder."""
    click.echo(f"· {model}: building label sets of {TEMPLATES} templates", err=True)
    chosen = label_set("imagenet1k")
    templates = list(chosen.templates)[:TEMPLATES]
    few = list(chosen.names)[: scale.zero_shot_labels]
    theirs, ours = [], []
    with clipserve.Client(service.service.address, timeout=BUILD_SECONDS) as client:
        picture = photographs(1)[0]
        count = scale.built_labels
        for number in range(scale.builds):
            done = worker.ask({"do": "zero_shot", "labels": few, "templates": templates})
            theirs.append(done["seconds"] / len(few))
            # Labels that nobody has asked for yet.
            names = [f"{name} {number}" for name in list(chosen.names)[:count]]
            begin = time.perf_counter()
            client.classify([picture], clipserve.LabelSet(tuple(names), templates=tuple(templates)))
            ours.append((time.perf_counter() - begin) / count)
        again = client.embed_texts([template.replace("{}", few[0]) for template in templates])
        mean = again.embeddings.mean(axis=0)
        agreement = float(np.dot(mean / np.linalg.norm(mean), done["embeddings"][0]))
    return {
        "ours_seconds_a_label": ours,
        "theirs_seconds_a_label": theirs,
        "labels": [count, len(few)],
        "gain": statistics.median(theirs) / statistics.median(ours),
        "agreement": agreement,
    }


def warm(
    service: Clipserve, load: Load, photos: list[bytes], scale: Scale, model: str
) -> tuple[dict[str, list[Turn]], list[dict[str, Any]]]:
    """Embed and Classify by turns, one caller; then Classify by ever more labels."""
    click.echo(f"· {model}: Classify by warm labels", err=True)

    def sender(file: str, path: str) -> Callable[[], Turn]:
        return functools.partial(load.turn, service.service.address, path, file, scale.seconds, callers=1)

    def classify(count: int) -> Callable[[], Turn]:
        names = [f"thing number {number}" for number in range(count)]
        file = load.requests(f"classify {count}", messages.classify(photos, names))
        send = sender(file, messages.CLASSIFY)
        with clipserve.Client(service.service.address, timeout=BUILD_SECONDS) as client:
            client.classify(photos[:1], names)
        return send

    embed = sender(load.requests("embed 1", messages.embed_images(photos)), messages.EMBED)
    systems = {"Embed": embed, f"Classify, {LABELS:,} labels": classify(LABELS)}
    turns = by_turns(systems, scale.more_rounds)
    growth = [{"labels": count, **asdict(classify(count)())} for count in scale.labels]
    growth.insert(0, {"labels": 0, "p50": median(turns["Embed"], "p50")})
    return turns, growth
