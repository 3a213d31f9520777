"""Whether weights fit a network: sentences for those that do not, and for those that were interpolated."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clipserve_exporter.errors import ExportError

MISSING = re.compile(r"Missing key\(s\) in state_dict: (.*)")
UNEXPECTED = re.compile(r"Unexpected key\(s\) in state_dict: (.*)")
SIZE = re.compile(r"size mismatch for (\S+): .*torch\.Size\((\[[\d, ]*\])\).*torch\.Size\((\[[\d, ]*\])\)")
COUNTERS = ("position_ids", "num_batches_tracked")
"""Endings of the names of whole numbers that checkpoints store."""
NAME = re.compile(r'"([^"]+)"')


def misfit(error: BaseException) -> str:
    """Tells in one sentence why weights do not fit, from the error of torch or of open_clip."""
    text = str(error)
    missing, unexpected = (names(pattern, text) for pattern in (MISSING, UNEXPECTED))
    if missing and unexpected:
        return (
            f"they are of another architecture: {counted(missing)} missing, and {counted(unexpected)} unknown"
        )
    if missing:
        return f"{counted(missing)} missing"
    if unexpected:
        return f"{counted(unexpected)} unknown"
    if size := SIZE.search(text):
        return f"size mismatch for {size[1]}: the file has {size[2]}, the model {size[3]}"
    return f"they cannot be used ({type(error).__name__}: {first_line(error)})"


def names(pattern: re.Pattern[str], text: str) -> list[str]:
    """Returns the names that a line of torch's error lists."""
    line = pattern.search(text)
    return NAME.findall(line[1]) if line else []


def counted(names: list[str]) -> str:
    """Counts weights and names the first."""
    return f"{names[0]} is" if len(names) == 1 else f"{len(names):,} weights ({names[0]}, …) are"


def first_line(error: BaseException) -> str:
    """Returns the first useful line of an error's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return (f"{first} {lines[1]}" if first.endswith(":") and len(lines) > 1 else first)[:300]


def require_real(state: Mapping[str, Tensor], what: str) -> None:
    """Raises ExportError for weights of a checkpoint that are not real numbers, such as quantized ones."""
    for name, tensor in state.items():
        if (not tensor.is_floating_point() or tensor.element_size() < 2) and not name.endswith(COUNTERS):
            raise ExportError(
                f"the weights of {what} are quantized or not real: {name} has the type "
                f"{str(tensor.dtype)[6:]}; export from the original weights, and choose --precision"
            )


def require_numbers(model: nn.Module, read: Mapping[str, Tensor], what: str) -> None:
    """Raises ExportError for weights that are not finite, or stored as integers in place of real numbers.

    `read` are the weights as the file has them, `what` names the file.
    """
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if name in read and not read[name].is_floating_point():
            raise ExportError(
                f"the weights of {what} are quantized: {name} has the type {str(read[name].dtype)[6:]}; "
                "export from the original weights, and choose --precision"
            )
        if not bool(torch.isfinite(tensor).all()):
            kind = "NaN" if bool(torch.isnan(tensor).any()) else "infinite values"
            raise ExportError(
                f"the weights of {what} contain {kind}, first in {name}; they are damaged, or the training "
                "diverged: use another checkpoint"
            )


def interpolated(model: Any, read: Mapping[str, Tensor], what: str) -> list[str]:
    """Tells which position embeddings open_clip has interpolated because sizes differ.

    open_clip does it silently for an image size or a context length other than that of the weights.
    """
    told = []
    grid = getattr(model.visual, "grid_size", None)
    positions = read.get("visual.positional_embedding")
    if grid is not None and positions is not None and len(positions) != grid[0] * grid[1] + 1:
        height, width = pair(model.visual.image_size)
        side = math.isqrt(len(positions) - 1)
        before = f"{round(width * side / grid[1])} × {round(height * side / grid[0])}"
        told.append(
            f"the weights of {what} are for images of {before} pixels; open_clip interpolates their position "
            f"embeddings to {width} × {height}, which changes the results"
        )
    for name in ("positional_embedding", "text.positional_embedding"):
        now = getattr(getattr(model, "text", model), "positional_embedding", None)
        if name in read and now is not None and len(read[name]) != len(now):
            told.append(
                f"the weights of {what} are for texts of {len(read[name])} tokens; open_clip interpolates "
                f"their position embeddings to {len(now)}, which changes the results"
            )
    return told


def pair(size: Any) -> tuple[int, int]:
    """Returns height and width."""
    return (size, size) if isinstance(size, int) else tuple(size)
