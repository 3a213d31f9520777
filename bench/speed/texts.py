"""Texts to embeddings: each at its own length, against all at 77 tokens."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import clipserve
import numpy as np
from clipserve.labels import label_set
from clipserve_gateway.inputs.tokenizer import tokenizer_for
from clipserve_gateway.types import TokenizerSpec

from bench.speed import messages
from bench.speed.scale import Bar, Scale
from bench.speed.systems import FIXED, Clipserve, Load, clipserve_of, export
from bench.speed.turns import Turn, by_turns, ratio, written

CALLERS = 32
TEXTS = 4096
SHORT = 12
"""Tokens of a short prompt, at most."""
MIXED = (8, 24)
LONG = 77
BATCH = 16
AGREE = 64

Sender = Callable[[str, str, list[str], int], Callable[..., Turn]]


def suite(model: str, scale: Scale, load: Load, folder: Path) -> tuple[dict[str, Any], list[Bar]]:
    """Throughput of two kinds of texts, by turns, and what one long text costs a batch."""
    repository, name = export(model, fixed_too=True), model.lower()
    with clipserve_of(model, repository, folder / f"{name}-texts") as service:

        def sender(label: str, which: str, texts: list[str], items: int) -> Callable[..., Turn]:
            file = load.requests(f"{which} {label}", messages.embed_texts(texts, items, which))
            return functools.partial(load.turn, service.service.address, messages.EMBED, file, items=items)

        agreement = agreement_of(service, [*short_prompts()[:AGREE], *mixed_texts(*MIXED)[:AGREE]])
        lengths, length_bars = by_length(model, scale, sender)
        batches, batch_bar = with_a_long_one(model, scale, sender)
    facts = {"model": model, "agreement": agreement, "turns": lengths, "batches": batches}
    alike = Bar(f"{model}: texts, lowest cosine to the 77-token path's", agreement, 0.999)
    return facts, [alike, *length_bars, batch_bar]


def agreement_of(service: Clipserve, texts: list[str]) -> float:
    """The lowest cosine of a text's two embeddings."""
    with clipserve.Client(service.service.address) as client:
        own, full = (
            client.embed_texts(texts, model=service.model + suffix).embeddings for suffix in ("", FIXED)
        )
    return float((own * full).sum(1).min())


def by_length(model: str, scale: Scale, sender: Sender) -> tuple[dict[str, Any], list[Bar]]:
    """Short and mixed texts, each at its own length and all at 77 tokens."""
    name, facts, bars = model.lower(), {}, []
    for kind, texts, bound in (
        (f"up to {SHORT} tokens", short_prompts(), 4.0),
        (f"{MIXED[0]} to {MIXED[1]} tokens", mixed_texts(*MIXED), 2.5),
    ):
        click.echo(f"· {model}: texts of {kind}", err=True)
        systems = {
            which: functools.partial(sender(kind, which, texts, 1), seconds=scale.seconds, callers=CALLERS)
            for which in (name, name + FIXED)
        }
        turns = by_turns(systems, scale.rounds)
        facts[kind] = written(turns)
        gain = ratio(turns[name], turns[name + FIXED])
        bars.append(Bar(f"{model}: texts of {kind}, of the 77-token path", gain, bound))
    return facts, bars


def with_a_long_one(model: str, scale: Scale, sender: Sender) -> tuple[dict[str, Any], Bar]:
    """A call of fifteen short texts and a long one, beside its two parts."""
    short, long = short_prompts(), mixed_texts(LONG, LONG)
    whole = [
        text for n in range(0, len(short) - BATCH, BATCH - 1) for text in (*short[n : n + BATCH - 1], long[n])
    ]
    parts = {"whole": (whole, BATCH), "short": (short, BATCH - 1), "long": (long, 1)}
    systems = {
        part: functools.partial(sender(part, model.lower(), texts, items), seconds=scale.seconds, callers=1)
        for part, (texts, items) in parts.items()
    }
    turns = by_turns(systems, scale.more_rounds)
    costs = [
        call.p50 / (first.p50 + second.p50)
        for call, first, second in zip(turns["whole"], turns["short"], turns["long"], strict=True)
    ]
    what = f"{model}: a batch with one long text, of its parts' time"
    return written(turns), Bar(what, statistics.median(costs), 1.0, most=True)


def short_prompts() -> list[str]:
    """Prompts as callers send them."""
    labels = label_set("imagenet1k")
    prompts = [template.replace("{}", name) for name in labels.names for template in labels.templates[:8]]
    lengths = [len(tokens.ids) for tokens in tokenizer_for(TokenizerSpec(77)).encode(prompts)]
    return [prompt for prompt, length in zip(prompts, lengths, strict=True) if length <= SHORT][:TEXTS]


def mixed_texts(least: int, most: int) -> list[str]:
    """Texts of random words whose numbers of tokens, both ends included, are spread evenly."""
    rng = np.random.default_rng(0)
    words = [name for name in label_set("imagenet1k").names if name.isalpha()]
    counts = [len(tokens.ids) - 2 for tokens in tokenizer_for(TokenizerSpec(77)).encode(words)]
    single = [word for word, count in zip(words, counts, strict=True) if count == 1]
    return [" ".join(rng.choice(single, rng.integers(least, most + 1) - 2)) for _ in range(TEXTS)]
