"""The real Triton on a device: throughput, latency and batch sizes by concurrency.

Pixels come as the gateway sends them (gRPC), or lie in shared memory, which leaves out what it costs to
move them through gRPC.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
from clipserve_exporter.text_tower import END
from tritonclient.grpc.service_pb2 import ModelInferRequest

from bench.gpu.load import Callers

SETTLE = 0.4
"""Seconds before calls are counted."""
TOKENS = 16


@dataclass(frozen=True)
class Point:
    """One measurement: a Triton model, how its input comes, items a request and callers at a time."""

    model: str
    transport: str
    items: int
    callers: int


@contextlib.contextmanager
def serving(repository: Path) -> Iterator[Any]:
    """A Triton on the repository, ready."""
    from testing.tritonserver import TritonServer

    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as folder:
        server = TritonServer(repository, Path(folder))
        try:
            server.wait_ready()
            yield server
        finally:
            server.stop()


def request_of(point: Point, inputs: np.ndarray, region: str) -> bytes:
    """A request with its input, or with the name of the shared memory where it lies."""
    request = ModelInferRequest(model_name=point.model)
    tensor = request.inputs.add(name="INPUT__0", shape=list(inputs.shape))
    tensor.datatype = "UINT8" if inputs.dtype == np.uint8 else "INT32"
    request.outputs.add(name="OUTPUT__0")
    if point.transport == "grpc":
        request.raw_input_contents.append(inputs.tobytes())
    else:
        tensor.parameters["shared_memory_region"].string_param = region
        tensor.parameters["shared_memory_byte_size"].int64_param = inputs.nbytes
    return request.SerializeToString()


@contextlib.contextmanager
def shared(server: Any, size: int) -> Iterator[str]:
    """A region of shared memory that Triton knows, full of random bytes; its name."""
    memory = SharedMemory(create=True, size=size)
    try:
        memory.buf[:size] = np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes()
        server.client.register_system_shared_memory("pixels", f"/{memory.name}", size)
        yield "pixels"
        server.client.unregister_system_shared_memory("pixels")
    finally:
        memory.close()
        memory.unlink()


def measure(
    repository: Path, points: list[Point], side: int, seconds: float, processes: int
) -> Iterator[dict[str, Any]]:
    """One row for each point."""
    rng = np.random.default_rng(0)
    largest = max(point.items for point in points) * side * side * 3
    warm: set[str] = set()
    with serving(repository) as server, shared(server, largest) as region:
        callers = Callers(server.url, processes)
        try:
            for point in points:
                if point.model.endswith("_image"):
                    inputs = rng.integers(0, 256, (point.items, side, side, 3), np.uint8)
                else:
                    inputs = rng.integers(1, END - 1, (point.items, TOKENS)).astype(np.int32)
                    inputs[:, -1] = END
                request = request_of(point, inputs, region)
                if point.model not in warm:
                    # TorchScript makes kernels for batch sizes that it has not seen.
                    warm.add(point.model)
                    one(server, callers, replace(point, callers=64), request, seconds)
                yield one(server, callers, point, request, seconds)
        finally:
            callers.stop()


def one(server: Any, callers: Callers, point: Point, request: bytes, seconds: float) -> dict[str, Any]:
    """Runs one point. Triton's own figures are of the whole run, the callers' of its counted part."""
    before, cpu = statistics_of(server, point.model), cpu_seconds()
    start = time.monotonic()
    done = callers.run(request, point.callers, start + SETTLE, start + SETTLE + seconds)
    wall = time.monotonic() - start
    after, used = statistics_of(server, point.model), cpu_seconds()
    latencies = sorted(latency for each in done for latency in each.latencies)
    counts = {key: after[key] - before[key] for key in after}
    runs = max(1, counts["runs"])
    row = {
        "model": point.model,
        "transport": point.transport,
        "items": point.items,
        "callers": point.callers,
        "per_s": len(latencies) * point.items / seconds,
        "p50_ms": statistics.median(latencies) * 1e3 if latencies else None,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1e3 if latencies else None,
        "calls": len(latencies),
        "over_400_ms": sum(latency > 0.4 for latency in latencies),
        "mean_batch": counts["items"] / runs,
        "queue_ms": counts["queue_ns"] / max(1, counts["requests"]) / 1e6,
        # One execution: what the backend took for a batch, and how much of the time it worked.
        "execution_ms": counts["busy_ns"] / runs / 1e6,
        "executions_per_s": runs / wall,
        "cores": {name: (used[name] - cpu.get(name, 0)) / wall for name in used},
        "client_cores": sum(each.cpu for each in done) / wall,
    }
    errors: dict[str, int] = {}
    for each in done:
        for words, count in each.errors.items():
            errors[words] = errors.get(words, 0) + count
    return row | ({"errors": errors} if errors else {})


def statistics_of(server: Any, model: str) -> dict[str, int]:
    """Triton's counters of one model."""
    found = server.client.get_inference_statistics(model).model_stats[0]
    batches = found.batch_stats
    return {
        "items": found.inference_count,
        "runs": found.execution_count,
        "requests": found.inference_stats.queue.count,
        "queue_ns": found.inference_stats.queue.ns,
        "busy_ns": sum(b.compute_input.ns + b.compute_infer.ns + b.compute_output.ns for b in batches),
    }


def cpu_seconds() -> dict[str, float]:
    """CPU time so far of the server, and of the processes of its Python backend together."""
    found = {"tritonserver": 0.0, "backend": 0.0}
    tick = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, tail = stat.read_text().rpartition(")")
            name = {"tritonserver": "tritonserver", "triton_python_b": "backend"}.get(head.partition("(")[2])
            if name:
                fields = tail.split()
                found[name] += (int(fields[11]) + int(fields[12])) / tick
    return found
