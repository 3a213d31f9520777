"""Converts towers to TorchScript, the format that Triton's libtorch backend reads."""

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
from clipserve_exporter.ragged_text import FixedText
from clipserve_exporter.source import Source
from clipserve_exporter.text_length import text_length_of, variable_length
from clipserve_exporter.text_tower import tower_of

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def export_image(source: Source, precision: str) -> torch.jit.ScriptModule:
    """Traces the image tower: uint8 [B, H, W, 3] → float32 [B, D], for any B."""
    dtype = DTYPES[precision]
    model = in_precision(source.model, dtype, "visual")
    tower = ImageTower(model, source.preprocess.mean, source.preprocess.std, dtype).eval()
    return checked(traced(tower, torch.zeros(2, *source.preprocess.shape, dtype=torch.uint8)), "image")


def export_text(source: Source, precision: str, handling: str = "") -> torch.jit.ScriptModule:
    """Traces the text tower for any B.

    `ragged` and `masked`: int32 [total] and float32 [B, 1] → float32 [B, D]. `fixed`: int32
    [B, context_length] → float32 [B, D]. Without `handling`, text_length_of chooses it.
    """
    handling = handling or text_length_of(source).handling
    model, context = in_precision(source.model, DTYPES[precision], "text"), source.context_length
    if handling == "fixed":
        whole = torch.zeros(2, context, dtype=torch.int32)
        return checked(traced(FixedText(model, context).eval(), whole), "text")
    tower = tower_of(model, context)
    assert tower is not None, "text_length_of chose the handling"
    part = torch.ones(2, max(1, context // 2), dtype=torch.int64)
    return checked(torch.jit.script(variable_length(source, traced(tower.eval(), part))), "text")


class StoredBytes(nn.Module):
    """Returns bytes that are part of the model."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = nn.Buffer(torch.frombuffer(bytearray(content), dtype=torch.uint8))

    def forward(self, ignored: Tensor) -> Tensor:
        """uint8 [1] → uint8 [number of bytes]."""
        return self.content


def export_bytes(content: bytes) -> torch.jit.ScriptModule:
    """Makes a model that returns bytes: uint8 [1] → uint8 [number of bytes]."""
    return torch.jit.script(StoredBytes(content).eval())


def in_precision(model: nn.Module, dtype: torch.dtype, tower: str) -> Any:
    """Copies the parts of the model that one tower needs, in a precision."""
    visual = getattr(model, "visual", None)
    if tower == "text":
        memo: dict[int, Any] = {id(visual): None}
    else:
        memo = {id(child): None for name, child in model.named_children() if name != "visual"}
    return with_plain_attention(copy.deepcopy(model, memo).to(dtype))


def traced(tower: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """Traces a tower. The tracer's own check is off, since parity compares more shapes."""
    with quiet(), torch.no_grad(), slow_attention():
        return torch.jit.trace(tower, example, check_trace=False)


@contextlib.contextmanager
def slow_attention() -> Iterator[None]:
    """Switches the fused attention kernel off: its trace is valid only for the traced shape."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses the tracer's warnings about shapes, since parity compares other shapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def checked(module: torch.jit.ScriptModule, tower: str) -> torch.jit.ScriptModule:
    """Returns the module. Raises ExportError if its graph contains a device."""
    devices = baked_devices(module)
    if devices:
        raise ExportError(
            f"the {tower} tower's graph names the device {', '.join(devices)}, so it would not run on "
            "another device; a layer of this architecture creates a tensor on a fixed device"
        )
    return module


def baked_devices(module: torch.jit.ScriptModule) -> list[str]:
    """Returns the device constants in a module's graph, including its sub-modules and blocks."""
    devices = set()

    def walk(block: Any) -> None:
        for node in block.nodes():
            for output in node.outputs():
                if node.kind() == "prim::Constant" and str(output.type()) == "Device":
                    devices.add(str(output.toIValue()))
            for inner in node.blocks():
                walk(inner)

    walk(module.inlined_graph)
    return sorted(devices)
