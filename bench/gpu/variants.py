"""The same tower made or run in other ways: what could be gained on a GPU.

Each variant is measured beside the exported graph in one run, with its cosine to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from clipserve_exporter.attention import PlainAttention
from clipserve_exporter.image_tower import ImageTower
from clipserve_exporter.source import Source
from clipserve_exporter.text_tower import TextTower
from clipserve_exporter.torchscript import DTYPES, in_precision, slow_attention, traced
from torch import Tensor, nn

from bench.gpu.machine import latencies, p50, pace, synchronize
from bench.gpu.towers import WARMUPS, Inputs, graph_of, loaded, pixels, prompts

Call = Callable[..., Tensor]
SEEN, UNFUSED, ALL = "the exported graph", "fusion off", "frozen, normalized so, channels last"
PATCHES = "patches by a matrix product"
RECTANGULAR, CAUSAL = "rows of one length", "same, causal by a flag"


class CausalAttention(PlainAttention):
    """Plain attention whose mask, where there is one, is known to be the causal one."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """As PlainAttention's."""
        projected = F.linear(query, self.in_proj_weight, self.in_proj_bias)
        q, k, v = projected.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=attn_mask is not None)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


class LateFloat(ImageTower):
    """Pixels go to the model's precision first, which is exact, and are normalized in one step."""

    def forward(self, pixels: Tensor) -> Tensor:
        """As ImageTower's."""
        x = pixels.permute(0, 3, 1, 2).to(self.dtype)
        scale = (1 / (255 * self.std)).to(self.dtype)
        return self.visual(x * scale - (self.mean / self.std).to(self.dtype)).float()


class PatchProduct(nn.Module):
    """The convolution that cuts a picture into patches, as one matrix product: patches do not overlap."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.side = conv.kernel_size[0]
        self.weight = nn.Parameter(conv.weight.flatten(1), requires_grad=False)
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, S, S] → [B, W, S / side, S / side]."""
        patches = x.unflatten(3, (-1, self.side)).unflatten(2, (-1, self.side))
        rows = patches.permute(0, 2, 4, 1, 3, 5).flatten(3)
        return F.linear(rows, self.weight, self.bias).permute(0, 3, 1, 2)


def image_variants(source: Source, precision: str, device: str) -> Iterator[tuple[str, Callable[[], Call]]]:
    """Names, and how to make each on the device. All but the first run without fusion."""
    dtype, size = DTYPES[precision], source.preprocess.height
    mean, std = source.preprocess.mean, source.preprocess.std
    graph = graph_of(source, "image", precision, device)
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8, device=device)

    def tower(kind: type[ImageTower] = ImageTower, **layout: Any) -> nn.Module:
        model = in_precision(source.model, dtype, "visual").to(**layout)
        return kind(model, mean, std, dtype).eval().to(device)

    def traced_tower(kind: type[ImageTower] = ImageTower, **layout: Any) -> torch.jit.ScriptModule:
        return loaded(traced(tower(kind, **layout), example), device)

    def with_patch_product() -> nn.Module:
        made = tower()
        made.visual.conv1 = PatchProduct(made.visual.conv1)
        return made

    last = {"memory_format": torch.channels_last}
    yield SEEN, lambda: loaded(graph, device)
    yield from of_any_graph(graph, device)
    yield "normalized in its precision", lambda: switched(traced_tower(LateFloat))
    yield "weights in channels-last order", lambda: switched(traced_tower(**last))
    if hasattr(source.model.visual, "conv1"):
        yield PATCHES, lambda: switched(loaded(traced(with_patch_product(), example), device))
    yield ALL, lambda: switched(torch.jit.freeze(traced_tower(LateFloat, **last)))
    yield "without TorchScript", tower


def text_variants(source: Source, precision: str, device: str) -> Iterator[tuple[str, Callable[[], Call]]]:
    """The same for texts; those without raggedness are given rows of one length."""
    graph = graph_of(source, "text", precision, device)
    part = torch.ones(2, source.context_length // 2, dtype=torch.int64, device=device)

    def rectangular(call: Call) -> Call:
        return lambda flat, lengths: call(flat.reshape(len(lengths), -1).long())

    def causal() -> nn.Module:
        tower = TextTower(in_precision(source.model, DTYPES[precision], "text")).eval()
        for module in tower.modules():
            if type(module) is PlainAttention:
                module.__class__ = CausalAttention
        return tower.to(device)

    yield SEEN, lambda: loaded(graph, device)
    yield from of_any_graph(graph, device)
    yield "lengths on the host", lambda: switched(host_lengths(loaded(graph, device)))
    yield RECTANGULAR, lambda: switched(rectangular(loaded(graph.tower, device)))
    yield CAUSAL, lambda: switched(rectangular(loaded(traced(causal(), part), device)))
    yield "without TorchScript", lambda: rectangular(causal())


def of_any_graph(graph: torch.jit.ScriptModule, device: str) -> Iterator[tuple[str, Callable[[], Call]]]:
    """TorchScript's own switches."""
    yield UNFUSED, lambda: switched(loaded(graph, device))
    yield "attention without cuDNN", lambda: switched(loaded(graph, device), cudnn_attention=False)
    yield "optimization off", lambda: switched(loaded(graph, device), optimize=False)
    yield "frozen", lambda: switched(torch.jit.freeze(loaded(graph, device)))
    yield "optimized for inference", lambda: switched(torch.jit.optimize_for_inference(loaded(graph, device)))


def host_lengths(graph: Call) -> Call:
    """The graph with its second input left on the host: one wait for the device less."""
    kept: dict[int, Tensor] = {}

    def call(flat: Tensor, lengths: Tensor) -> Tensor:
        if id(lengths) not in kept:
            kept[id(lengths)] = lengths.cpu()
        return graph(flat, kept[id(lengths)])

    return call


def switched(graph: Call, **wanted: bool) -> Call:
    """The graph, run with PyTorch's switches so (see switches), without fusion if not said otherwise."""

    def call(*inputs: Tensor) -> Tensor:
        with switches(**{"fuser": False, **wanted}):
            return graph(*inputs)

    return call


@contextlib.contextmanager
def switches(fuser: bool = True, optimize: bool = True, cudnn_attention: bool = True) -> Iterator[None]:
    """TorchScript's fuser, all its optimizations, and cuDNN's attention kernels on or off."""
    settings = (
        (torch._C._jit_texpr_fuser_enabled(), torch._C._jit_set_texpr_fuser_enabled, fuser),
        (torch._C._get_graph_executor_optimize(), torch._C._set_graph_executor_optimize, optimize),
        (torch.backends.cuda.cudnn_sdp_enabled(), torch.backends.cuda.enable_cudnn_sdp, cudnn_attention),
    )
    for _, change, value in settings:
        change(value)
    try:
        yield
    finally:
        for before, change, _ in settings:
            change(before)


def replayed(call: Call, inputs: Inputs) -> Call:
    """One CUDA graph of a call at this very shape: what is left when launches cost nothing."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARMUPS):
            call(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = call(*inputs)

    def replay(*_: Tensor) -> Tensor:
        graph.replay()
        return output

    return replay


@torch.inference_mode()
def compare(
    source: Source, tower: str, precision: str, device: str, batches: list[int], tokens: int, seconds: float
) -> Iterator[dict[str, Any]]:
    """One row for each variant and batch size; a variant that does not run says why in `error`."""
    variants = image_variants if tower == "image" else text_variants
    torch.manual_seed(1)
    there = {
        batch: tuple(
            one.to(device) for one in (pixels(source, batch) if tower == "image" else prompts(batch, tokens))
        )
        for batch in batches
    }
    answers: dict[int, Tensor] = {}
    made: dict[str, Call] = {}

    def rows(name: str, make: Callable[[int], Call]) -> Iterator[dict[str, Any]]:
        try:
            for batch, inputs in there.items():
                yield {"variant": name, **measured(make(batch), inputs, batch, device, seconds, answers)}
        except Exception as error:
            yield {"variant": name, "error": last_line(error)}

    with slow_attention():
        for name, make in variants(source, precision, device):

            def once(_: int, name: str = name, make: Callable[[], Call] = make) -> Call:
                if name not in made:
                    made[name] = make()
                return made[name]

            yield from rows(name, once)
    if device == "cuda":
        for name in (UNFUSED, PATCHES, ALL) if tower == "image" else (CAUSAL,):
            if name in made:
                yield from rows(f"{name}, as a CUDA graph", lambda b, n=name: replayed(made[n], there[b]))


def measured(
    call: Call, inputs: Inputs, batch: int, device: str, seconds: float, answers: dict[int, Tensor]
) -> dict[str, Any]:
    """Throughput, latency and the smallest cosine to the first variant's answer."""
    for _ in range(WARMUPS):
        output = call(*inputs)
    expected = answers.setdefault(batch, output.double().clone())
    cosine = F.cosine_similarity(output.double(), expected, dim=1).min()
    synchronize(device)
    alone = p50(latencies(lambda: call(*inputs), device, seconds))
    each = pace(lambda: call(*inputs), device, seconds, alone)
    return {"batch": batch, "device_ms": alone * 1e3, "device_per_s": batch / each, "cosine": float(cosine)}


def last_line(error: Exception) -> str:
    """What an error says, in short: CUDA's begin with it and then explain."""
    lines = [
        line for line in str(error).strip().splitlines() if line.startswith(("CUDA error", "RuntimeError"))
    ]
    return (lines or str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
