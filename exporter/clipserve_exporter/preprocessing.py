"""The preprocessing of a model's images: every choice of open_clip's transform, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from clipserve_exporter.errors import ExportError

RESIZE_MODES = ("shortest", "longest", "squash")
INTERPOLATIONS = ("bicubic", "bilinear")
"""What the gateway supports; open_clip's `random` is for training."""
LARGEST_SIDE = 4096
"""Pixels. Far above the inputs of all known encoders; gateways refuse larger ones."""


@dataclass(frozen=True)
class Preprocess:
    """How pixels are prepared: resized to height × width, then (x / 255 - mean) / std.

    Attributes:
        resize: `shortest`: the short side fits, and the rest is cropped from the center; `longest`: the long
            side fits, and the rest is padded with `fill`; `squash`: both sides fit, and proportions change.
        fill: value of the padding, 0–255.
    """

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "shortest"
    interpolation: str = "bicubic"
    fill: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the graph's input."""
        return self.height, self.width, 3


def preprocess_of(model: Any) -> Preprocess:
    """Returns the model's preprocessing. Raises ExportError if the gateway does not support it."""
    config = model.visual.preprocess_cfg
    size = config["size"]
    sides = size if isinstance(size, (list, tuple)) else (size, size)
    if len(sides) != 2 or not all(is_whole(side, 1, LARGEST_SIDE) for side in sides):
        raise ExportError(
            f"the model's preprocessing has size {size!r}; it must be one or two whole numbers from 1 to "
            f"{LARGEST_SIDE}"
        )
    fill = config.get("fill_color") or 0
    if not is_whole(fill, 0, 255):
        raise ExportError(
            f"the model's preprocessing has fill_color {fill!r}; it must be a whole number from 0 to 255"
        )
    preprocess = Preprocess(
        int(sides[0]),
        int(sides[1]),
        channels("mean", config["mean"]),
        channels("std", config["std"], positive=True),
        config.get("resize_mode") or "shortest",
        config.get("interpolation") or "bicubic",
        int(fill),
    )
    require(preprocess.resize, "resize_mode", RESIZE_MODES)
    require(preprocess.interpolation, "interpolation", INTERPOLATIONS)
    return preprocess


def is_whole(value: Any, least: int, most: int) -> bool:
    """Whether a value of a configuration is a whole number in a range; `true` is not."""
    return is_finite(value) and least <= value <= most and value == int(value)


def is_finite(value: Any) -> bool:
    """Whether a value of a configuration is a finite number; `true` is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def channels(key: str, values: Any, *, positive: bool = False) -> tuple[float, ...]:
    """Returns the numbers of the three channels, as they are. Raises ExportError if they are not that."""
    good = isinstance(values, (list, tuple)) and len(values) == 3 and all(map(is_finite, values))
    if not good or (positive and min(values) <= 0):
        what = "three finite numbers above 0" if positive else "three finite numbers"
        raise ExportError(f"the model's preprocessing has {key} {values!r}; it must be {what}")
    return tuple(values)


def require(value: Any, key: str, served: tuple[str, ...]) -> None:
    """Raises ExportError if a setting has a value that the gateway does not support."""
    if value not in served:
        raise ExportError(f"the model's preprocessing has {key} {value!r}; supported are {', '.join(served)}")
