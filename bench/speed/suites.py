"""The suites, in the order of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.speed import decoding, growth, images, labels, lanes, precisions, protocols, searches, texts
from bench.speed.scale import Bar, Scale
from bench.speed.systems import Load

Found = tuple[Any, list[Bar]]
Run = Callable[[Sequence[str], Scale, Load, Path], Found]


def of_each(suite: Callable[[str, Scale, Load, Path], Found]) -> Run:
    """A suite that is run for each model."""
    return lambda models, scale, load, folder: merged([suite(it, scale, load, folder) for it in models])


def of_last(suite: Callable[[str, Scale, Load, Path], Found]) -> Run:
    """A suite that one model is enough for."""
    return lambda models, scale, load, folder: suite(models[-1], scale, load, folder)


def of_first(suite: Callable[[str, Scale, Load, Path], Found]) -> Run:
    """A suite that the fastest model shows best."""
    return lambda models, scale, load, folder: suite(models[0], scale, load, folder)


def merged(found: Sequence[Found]) -> Found:
    """Facts in a list, bars in another."""
    return [facts for facts, _ in found], [bar for _, bars in found for bar in bars]


SUITES: dict[str, Run] = {
    "images": of_each(images.suite),
    "texts": of_each(texts.suite),
    "precision": of_last(precisions.suite),
    "labels": of_each(labels.suite),
    "lanes": of_each(lanes.suite),
    "protocols": of_first(protocols.suite),
    "search": of_last(searches.suite),
    "decoding": of_first(decoding.suite),
    "growth": of_first(growth.suite),
}
