"""Texts to embeddings: each at its own length, against all at 77 tokens."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from clipserve.labels import label_set
from clipserve_gateway.tokenizer import tokenizer_for

from bench.speed import requests
from bench.speed.scale import Bar, Scale
from bench.speed.systems import FIXED, Load, clipserve_of, export
from bench.speed.turns import Turn, by_turns, ratio, turn_of

CALLERS = 32
TEXTS = 4096
SHORT = 12
"""Tokens of a short prompt, at most."""
MIXED = (8, 24)
LONG = 77
BATCH = 16

Send = Callable[..., Turn]


def suite(model: str, scale: Scale, load: Load, folder: Path) -> tuple[dict[str, Any], list[Bar]]:
    """Throughput of two kinds of texts, by turns, and what one long text costs a batch."""
    repository = export(model, fixed_too=True)
    name = model.lower()
    short, mixed = short_prompts(), mixed_texts(*MIXED)
    long = mixed_texts(LONG, LONG)
    kinds = {
        f"up to {SHORT} tokens": short,
        f"{MIXED[0]} to {MIXED[1]} tokens": mixed,
    }
    facts: dict[str, Any] = {"model": model, "turns": {}, "batches": {}}
    with clipserve_of(model, repository, folder / f"{name}-texts") as service:

        def sender(label: str, texts: list[str], items: int, which: str) -> Send:
            file = load.requests(f"{which} {label}", requests.embed_texts(texts, items, which))

            def send(seconds: float, **how: Any) -> Turn:
                done = load.send(service.service.address, requests.EMBED, file, seconds, **how)
                return turn_of(done, seconds, items)

            return send

        bars = []
        for (kind, texts), bound in zip(kinds.items(), (4.0, 2.5), strict=True):
            systems = {which: sender(kind, texts, 1, which) for which in (name, name + FIXED)}
            click.echo(f"· {model}: texts of {kind}", err=True)
            turns = by_turns(
                {
                    which: functools.partial(send, scale.seconds, callers=CALLERS)
                    for which, send in systems.items()
                },
                scale.rounds,
            )
            facts["turns"][kind] = {which: [asdict(turn) for turn in found] for which, found in turns.items()}
            bars.append(
                Bar(
                    f"{model}: texts of {kind}, of the 77-token path",
                    ratio(turns[name], turns[name + FIXED]),
                    bound,
                )
            )
        with_long = [
            text
            for n in range(0, len(short) - BATCH, BATCH - 1)
            for text in (*short[n : n + BATCH - 1], long[n])
        ]
        parts = {
            "whole": sender("whole", with_long, BATCH, name),
            "short": sender("short part", short, BATCH - 1, name),
            "long": sender("long part", long, 1, name),
        }
        turns = by_turns(
            {which: functools.partial(send, scale.seconds / 2, callers=1) for which, send in parts.items()},
            scale.rounds,
        )
        facts["batches"] = {which: [asdict(turn) for turn in found] for which, found in turns.items()}
        costs = [
            whole.p50 / (short_.p50 + long_.p50)
            for whole, short_, long_ in zip(turns["whole"], turns["short"], turns["long"], strict=True)
        ]
        bars.append(
            Bar(
                f"{model}: a batch with one long text, of its parts' time",
                float(np.median(costs)),
                1.0,
                most=True,
            )
        )
    return facts, bars


def short_prompts() -> list[str]:
    """Prompts as callers send them."""
    labels = label_set("imagenet1k")
    prompts = [template.replace("{}", name) for name in labels.names for template in labels.templates[:8]]
    lengths = [len(tokens.ids) for tokens in tokenizer_for(77).encode(prompts)]
    return [prompt for prompt, length in zip(prompts, lengths, strict=True) if length <= SHORT][:TEXTS]


def mixed_texts(least: int, most: int) -> list[str]:
    """Texts of random words whose numbers of tokens, both ends included, are spread evenly."""
    rng = np.random.default_rng(0)
    words = [name for name in label_set("imagenet1k").names if name.isalpha()]
    counts = [len(tokens.ids) - 2 for tokens in tokenizer_for(77).encode(words)]
    single = [word for word, count in zip(words, counts, strict=True) if count == 1]
    return [" ".join(rng.choice(single, rng.integers(least, most + 1) - 2)) for _ in range(TEXTS)]
