"""The preprocessing of a model's images, and a check that the gateway supports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clipserve_exporter.errors import ExportError

SERVED = {"resize_mode": "shortest", "interpolation": "bicubic"}
"""The preprocessing that the gateway supports."""


@dataclass(frozen=True)
class Preprocess:
    """How pixels are prepared: short side to `size`, bicubic, center crop, then (x / 255 - mean) / std."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def preprocess_of(model: Any) -> Preprocess:
    """Returns the model's preprocessing. Raises ExportError if the gateway does not support it."""
    config = model.visual.preprocess_cfg
    size = config["size"]
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise ExportError(f"the model takes {size} pixels; only square images are supported")
    for key, served in SERVED.items():
        if config.get(key, served) != served:
            raise ExportError(
                f"the model's preprocessing has {key} {config[key]!r}; only {served!r} is supported"
            )
    return Preprocess(int(sides.pop()), tuple(config["mean"]), tuple(config["std"]))
