"""Towers as TorchScript: the one place that knows how the files that Triton loads are made.

TorchScript is what Triton's libtorch backend reads; another format would join here.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from clipserve_exporter.attention import with_plain_attention
from clipserve_exporter.errors import ExportError
from clipserve_exporter.image_tower import ImageTower
from clipserve_exporter.source import Source
from clipserve_exporter.text_tower import FixedText, RaggedText, TextTower, is_ragged

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

SPLIT_TOKENS = 64
"""See RaggedText.split_tokens."""


def export_image(source: Source, precision: str) -> torch.jit.ScriptModule:
    """Traces the image tower: uint8 [B, S, S, 3] → float32 [B, D], for any B."""
    dtype, size = DTYPES[precision], source.preprocess.size
    model = in_precision(source.model, dtype, "visual")
    tower = ImageTower(model, source.preprocess.mean, source.preprocess.std, dtype).eval()
    return checked(traced(tower, torch.zeros(2, size, size, 3, dtype=torch.uint8)), "image")


def export_text(source: Source, precision: str, fixed: bool = False) -> torch.jit.ScriptModule:
    """The text tower: ragged, int32 [total] and float32 [B, 1] → float32 [B, D], or fixed, int32
    [B, context_length] → float32 [B, D]; for any B. See is_ragged.
    """
    model = in_precision(source.model, DTYPES[precision], "text")
    if not is_ragged(source.model, fixed):
        whole = torch.zeros(2, source.context_length, dtype=torch.int32)
        return checked(traced(FixedText(model).eval(), whole), "text")
    part = torch.ones(2, max(1, source.context_length // 2), dtype=torch.int64)
    tower = traced(TextTower(model).eval(), part)
    return checked(torch.jit.script(RaggedText(tower, source.context_length, SPLIT_TOKENS).eval()), "text")


def in_precision(model: nn.Module, dtype: torch.dtype, tower: str) -> Any:
    """A copy of the model to trace: without what the other tower alone needs, in this precision."""
    visual = getattr(model, "visual", None)
    if tower == "text":
        memo: dict[int, Any] = {id(visual): None}
    else:
        memo = {id(child): None for name, child in model.named_children() if name != "visual"}
    return with_plain_attention(copy.deepcopy(model, memo).to(dtype))


def traced(tower: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """The tower's graph. Its own parity check, on other shapes, is the exporter's (see parity)."""
    with quiet(), torch.no_grad(), slow_attention():
        return torch.jit.trace(tower, example, check_trace=False)


@contextlib.contextmanager
def slow_attention() -> Iterator[None]:
    """Without the fused attention kernel, whose trace fits the traced shape alone."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the tracer's warnings about shapes: parity on other shapes is what decides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def checked(module: torch.jit.ScriptModule, tower: str) -> torch.jit.ScriptModule:
    """The module, if it runs on any device; ExportError if its graph names one."""
    found = baked_devices(module)
    if found:
        raise ExportError(
            f"the {tower} tower's graph names the device {', '.join(found)}, so it would not run on another "
            "one; some layer of this architecture makes a tensor on a fixed device"
        )
    return module


def baked_devices(module: torch.jit.ScriptModule) -> list[str]:
    """The device constants in a module's graph, sub-modules and blocks included."""
    found = set()

    def walk(block: Any) -> None:
        for node in block.nodes():
            for output in node.outputs():
                if node.kind() == "prim::Constant" and str(output.type()) == "Device":
                    found.add(str(output.toIValue()))
            for inner in node.blocks():
                walk(inner)

    walk(module.inlined_graph)
    return sorted(found)
