"""Lets open_clip import a torchvision whose compiled operators do not fit the installed torch.

open_clip imports torchvision only for its transforms. A torchvision that was built for another torch, such as
a CUDA build with a CPU torch, fails at its first missing operator schema. Declaring the schemas lets the
import succeed. If torchvision can be imported as it is, nothing is changed.
"""

from __future__ import annotations

import sys

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_library: torch.library.Library | None = None


def make_importable() -> None:
    """Imports torchvision; declares its operator schemas if necessary."""
    global _library
    try:
        import torchvision
    except (RuntimeError, OSError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        # The schemas exist as long as the library object.
        _library = torch.library.Library("torchvision", "DEF")
        for schema in SCHEMAS:
            _library.define(schema)
        import torchvision  # noqa: F401
