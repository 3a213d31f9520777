"""The preprocessing of a model's images: every choice of open_clip's transform, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clipserve_exporter.errors import ExportError

RESIZE_MODES = ("shortest", "longest", "squash")
INTERPOLATIONS = ("bicubic", "bilinear")
"""What the gateway supports; open_clip's `random` is for training."""


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
    height, width = (size, size) if isinstance(size, int) else size
    preprocess = Preprocess(
        int(height),
        int(width),
        tuple(config["mean"]),
        tuple(config["std"]),
        config.get("resize_mode") or "shortest",
        config.get("interpolation") or "bicubic",
        int(config.get("fill_color") or 0),
    )
    require(preprocess.resize, "resize_mode", RESIZE_MODES)
    require(preprocess.interpolation, "interpolation", INTERPOLATIONS)
    return preprocess


def require(value: str, key: str, served: tuple[str, ...]) -> None:
    """Raises ExportError if a setting has a value that the gateway does not support."""
    if value not in served:
        raise ExportError(f"the model's preprocessing has {key} {value!r}; supported are {', '.join(served)}")
