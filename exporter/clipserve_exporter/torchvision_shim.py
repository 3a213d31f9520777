"""Lets open_clip import a torchvision whose compiled operators do not fit the installed torch.

open_clip imports torchvision for its transforms alone. A torchvision built for another torch (a CUDA build
beside a CPU torch, say) stops at its first missing operator schema; declaring the schemas lets the import
pass. Where torchvision imports as it is, nothing is done.
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
    """Imports torchvision, with its operator schemas declared if it needs that."""
    global _library
    try:
        import torchvision
    except (RuntimeError, OSError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        # The schemas live as long as the library object does.
        _library = torch.library.Library("torchvision", "DEF")
        for schema in SCHEMAS:
            _library.define(schema)
        import torchvision  # noqa: F401
