"""How a model wants its images prepared, and whether the gateway does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clipserve_exporter.errors import ExportError

SERVED = {"resize_mode": "shortest", "interpolation": "bicubic"}
"""The preprocessing that the gateway does."""


@dataclass(frozen=True)
class Preprocess:
    """How pixels are prepared: short side to `size`, bicubic, center crop, then (x / 255 - mean) / std."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def preprocess_of(model: Any) -> Preprocess:
    """The model's preprocessing; ExportError where the gateway does not do it."""
    config = model.visual.preprocess_cfg
    size = config["size"]
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise ExportError(f"the model takes {size} pixels; only square images are served")
    for key, served in SERVED.items():
        if config.get(key, served) != served:
            raise ExportError(
                f"the model's preprocessing has {key} {config[key]!r}; only {served!r} is served"
            )
    return Preprocess(int(sides.pop()), tuple(config["mean"]), tuple(config["std"]))
