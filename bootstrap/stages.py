"""The stages of the set-up: contents, order and sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap.lock import path_of

GATEWAY_ENV, MODELS_ENV = ".venv", ".venv-models"


@dataclass(frozen=True)
class Stage:
    """A part of an environment; sizes are measured, in MB (10^6 bytes)."""

    name: str
    about: str
    environment: str
    files: tuple[str, ...]
    """Files of the project that decide what is installed."""
    download_mb: int
    disk_mb: int
    proof: str = ""
    """Pattern of a file that exists if the stage is complete; empty if there is none."""


SITE = "lib/python3.*/site-packages"


def stages(device: str, *, tests: bool) -> list[Stage]:
    """The stages of an installation, in their order.

    Args:
        device: `cpu` or `cuda`.
        tests: with the tools that `make test` and `make lint` need.
    """
    project, gateway, models = "pyproject.toml", "constraints/gateway.txt", "constraints/models.txt"
    build, torch_mb = ("without CUDA", (235, 640)) if device == "cpu" else ("with CUDA", (2600, 4600))
    ordered = [
        Stage("gateway", "gateway, SDK and CLI", GATEWAY_ENV, (project, path_of("gateway")), 280, 770,
              f"{SITE}/lancedb/__init__.py"),
        Stage("torch", f"torch {build}", MODELS_ENV, (project, models), *torch_mb,
              f"{SITE}/torch/__init__.py"),
        Stage("models", "open_clip and the exporter", MODELS_ENV, (project, path_of("models")), 30, 280,
              f"{SITE}/open_clip/__init__.py"),
        Stage("triton", "Triton Inference Server", MODELS_ENV, (project, path_of("triton")), 55, 150,
              f"{SITE}/pytriton/tritonserver/bin/tritonserver"),
        Stage("libpython", "the shared libpython that Triton's Python backend loads", MODELS_ENV, (), 3, 8,
              "lib/libpython3.*.so.1.0"),
    ]  # fmt: skip
    if tests:
        ordered += [
            Stage("tools", "linters, test tools, a Milvus server", GATEWAY_ENV, (project, gateway), 315, 970,
                  f"{SITE}/pytest/__init__.py"),
            Stage("kubectl", "kubectl", GATEWAY_ENV, ("constraints/kubectl.txt",), 37, 60),
            Stage("busybox", "busybox", GATEWAY_ENV, (), 1, 1),
            Stage("test-tools", "pytest", MODELS_ENV, (project, path_of("test-tools")), 2, 10,
                  f"{SITE}/pytest/__init__.py"),
        ]  # fmt: skip
    return ordered


def digest(stage: Stage, root: Path, *more: str) -> str:
    """A digest that changes if the contents of the stage change."""
    content = hashlib.sha256("\0".join((stage.name, *more)).encode())
    for name in stage.files:
        content.update((root / name).read_bytes())
    return content.hexdigest()[:16]


def total(chosen: Sequence[Stage]) -> tuple[int, int]:
    """MB to download, and MB on disk."""
    return sum(stage.download_mb for stage in chosen), sum(stage.disk_mb for stage in chosen)
