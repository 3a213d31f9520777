"""Ways to serve a model in Triton, and what is asked of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clipserve_exporter.config import Serving

from bench.gpu.triton import Point

FORMS = {
    "batch128": Serving(image_batch=128),
    "batch64x2": Serving(image_batch=64, instances=2),
    "batch64x4": Serving(image_batch=64, instances=4),
}


@dataclass(frozen=True)
class Setup:
    """A way to serve a model, and what is asked of it."""

    model: str
    serving: Serving
    points: list[Point]
    backend: Path | None = None
    """A model.py in place of the exporter's."""


def ask(model: str, transport: str, items: int, *callers: int) -> list[Point]:
    """Points that differ in their callers."""
    return [Point(model, transport, items, count) for count in callers]


def few(name: str) -> list[Point]:
    """An image tower under full load."""
    model = f"{name}_image"
    asked = ask(model, "grpc", 1, 256) + ask(model, "grpc", 8, 32)
    return asked + ask(model, "shm", 1, 256) + ask(model, "shm", 8, 32)


def setups(model: str, backend: Path | None, quick: bool) -> dict[str, Setup]:
    """By name: the model in its default form, the demo model, and the model in other forms.

    Another backend is measured in all of them, and ours beside it in the first.
    """
    if quick:
        return {
            "first": Setup(model, Serving(), few("first") + ask("first_text", "grpc", 1, 2)),
            "demo": Setup("demo", Serving(instances=2), ask("demo_image", "shm", 2, 2), backend),
        }
    mark = "" if backend is None else "other-"
    found = {} if backend is None else {"first": Setup(model, Serving(), few("first"))}
    found[f"{mark}first"] = Setup(model, Serving(), many(f"{mark}first"), backend)
    demo = f"{mark}demo_image"
    asked = ask(demo, "grpc", 1, 1, 16, 128) + ask(demo, "shm", 8, 32)
    found[f"{mark}demo"] = Setup("demo", Serving(), asked, backend)
    for name, serving in FORMS.items():
        found[mark + name] = Setup(model, serving, few(mark + name), backend)
    return found


def many(name: str) -> list[Point]:
    """Both towers from one caller to full load."""
    image, text = f"{name}_image", f"{name}_text"
    asked = ask(image, "grpc", 1, 1, 2, 4, 8, 16, 32, 64, 128, 256) + ask(image, "grpc", 8, 4, 16, 32)
    asked += ask(image, "shm", 1, 1, 16, 64, 256) + ask(image, "shm", 8, 16, 32)
    return asked + ask(text, "grpc", 1, 1, 8, 64, 256) + ask(text, "grpc", 32, 8)
