"""Exported towers on a device: parity, throughput and latency by batch size, against the matrix rate."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from clipserve_exporter import parity
from clipserve_exporter.image_tower import ImageTower
from clipserve_exporter.source import Source
from clipserve_exporter.text_length import text_length_of
from clipserve_exporter.text_tower import END, TextTower
from clipserve_exporter.torchscript import export_image, export_text, in_precision
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.gpu.machine import latencies, p50, pace, synchronize

Inputs = tuple[Tensor, ...]
START = END - 1
WARMUPS = 4


def pixels(source: Source, batch: int) -> Inputs:
    """Random pictures: uint8 [B, S, S, 3]."""
    size = source.preprocess.height
    return (torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8),)


def prompts(batch: int, tokens: int) -> Inputs:
    """Random texts of one length: int32 [B · tokens] and float32 [B, 1]."""
    rows = torch.randint(1, START, (batch, tokens), dtype=torch.int32)
    rows[:, 0], rows[:, -1] = START, END
    return rows.reshape(-1), torch.full((batch, 1), float(tokens))


def image_flops(source: Source) -> int:
    """Floating-point operations of matrix products and convolutions for one picture."""
    mean, std = source.preprocess.mean, source.preprocess.std
    tower = ImageTower(in_precision(source.model, torch.float32, "visual"), mean, std, torch.float32)
    return counted(tower.eval(), *pixels(source, 1))


def text_flops(source: Source, tokens: int) -> int:
    """The same for one text."""
    tower = TextTower(in_precision(source.model, torch.float32, "text")).eval()
    return counted(tower, prompts(1, tokens)[0].reshape(1, -1).long())


def counted(module: Callable[..., Tensor], *inputs: Tensor) -> int:
    """Operations as PyTorch counts them: a multiplication and an addition are two."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return int(counter.get_total_flops())


def graph_of(source: Source, tower: str, precision: str, device: str) -> torch.jit.ScriptModule:
    """A tower as the exporter makes it; traced on the device, since few CPUs compute in fp16 fast."""
    there = replace(source, model=copy.deepcopy(source.model).to(device))
    handling = text_length_of(source).handling
    with torch.device(device):
        return export_image(there, precision) if tower == "image" else export_text(there, precision, handling)


def loaded(graph: torch.jit.ScriptModule, device: str) -> torch.jit.ScriptModule:
    """A fresh copy on a device, loaded from its file as a server loads it."""
    file = io.BytesIO()
    torch.jit.save(graph, file)
    file.seek(0)
    return torch.jit.load(file, map_location=device).eval()


def parity_of(source: Source, graph: Callable[..., Tensor], tower: str, precision: str, device: str) -> float:
    """The smallest cosine of a graph on the device to open_clip's own float32 on the CPU."""

    def there(*inputs: Tensor) -> Tensor:
        return graph(*(one.to(device) for one in inputs)).cpu()

    cases = parity.image_cases if tower == "image" else parity.text_cases
    return min(case.min_cosine for case in cases(source, there, precision))


@torch.inference_mode()
def sweep(
    graph: Callable[..., Tensor],
    inputs: Callable[[int], Inputs],
    batches: list[int],
    device: str,
    seconds: float,
) -> Iterator[dict[str, Any]]:
    """For each batch size: with inputs in the device's memory, and as the server's backend does it.

    `device_per_s` are items a second with calls queued back to back, `device_ms` the p50 of one call waited
    for; `host_ms` and `host_per_s` are one call after the other from requests in ordinary memory to the
    result on the host, `pinned_per_s` the same by way of a page-locked buffer.
    """
    for batch in batches:
        host = inputs(batch)
        there = tuple(one.to(device) for one in host)
        for _ in range(WARMUPS):
            graph(*there)
        synchronize(device)
        alone = p50(latencies(lambda x=there: graph(*x), device, seconds))
        each = pace(lambda x=there: graph(*x), device, seconds, alone)
        whole = p50(latencies(served(graph, host, batch, device), device, seconds))
        row = {
            "batch": batch,
            "device_ms": alone * 1e3,
            "device_per_s": batch / each,
            "host_ms": whole * 1e3,
            "host_per_s": batch / whole,
        }
        if device == "cuda":
            fast = p50(latencies(served(graph, host, batch, device, pinned=True), device, seconds))
            row["pinned_per_s"] = batch / fast
        yield row


def served(
    graph: Callable[..., Tensor], inputs: Inputs, batch: int, device: str, pinned: bool = False
) -> Callable[[], Tensor]:
    """What the Python backend does with requests of one item: together, to the device, through, and back."""
    first, *rest = inputs
    gather = gathered(first, batch, device, "page-locked" if pinned else "whole")

    def call() -> Tensor:
        return graph(gather(), *(one.to(device) for one in rest)).cpu()

    return call


def gathered(rows: Tensor, batch: int, device: str, way: str) -> Callable[[], Tensor]:
    """Brings requests of one item to the device: as one new tensor, by way of a page-locked one, or each."""
    requests = rows.split(len(rows) // batch)
    if way == "each":
        there = torch.empty_like(rows, device=device)
        places = there.split(len(rows) // batch)

        def each() -> Tensor:
            for place, request in zip(places, requests, strict=True):
                place.copy_(request, non_blocking=True)
            return there

        return each
    buffer = torch.empty_like(rows, pin_memory=True) if way == "page-locked" else None
    return lambda: torch.cat(requests, out=buffer).to(device, non_blocking=way == "page-locked")


@torch.inference_mode()
def gathering(source: Source, batches: list[int], device: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Milliseconds to bring a batch of single pictures to the device, by way and threads of torch."""
    threads = torch.get_num_threads()
    ways = ("whole", "page-locked", "each") if device == "cuda" else ("whole", "each")
    for batch in batches:
        (rows,) = pixels(source, batch)
        for count in (1, threads):
            torch.set_num_threads(count)
            for way in ways:
                call = gathered(rows, batch, device, way)
                call()
                yield {
                    "batch": batch,
                    "threads": count,
                    "way": way,
                    "ms": p50(latencies(call, device, seconds)) * 1e3,
                }
    torch.set_num_threads(threads)
