"""What is installed where, in which order, and how large it is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GATEWAY_ENV, MODELS_ENV = ".venv", ".venv-models"


@dataclass(frozen=True)
class Stage:
    """A part of an environment; sizes are what was measured, in MB (10^6 bytes)."""

    name: str
    about: str
    environment: str
    files: tuple[str, ...]
    """Files of the project that decide what is installed."""
    download_mb: int
    disk_mb: int


def stages(device: str, *, tests: bool) -> list[Stage]:
    """The stages of an installation, in their order.

    Args:
        device: `cpu` or `cuda`.
        tests: with the tools that `make test` and `make lint` need.
    """
    gateway, models = (
        ("pyproject.toml", "constraints/gateway.txt"),
        ("pyproject.toml", "constraints/models.txt"),
    )
    torch_mb = {"cpu": (200, 800), "cuda": (2600, 4600)}[device]
    found = [
        Stage("gateway", "gateway, SDK and CLI", GATEWAY_ENV, gateway, 220, 750),
        Stage(
            "torch",
            f"torch for {'a processor' if device == 'cpu' else 'CUDA'}",
            MODELS_ENV,
            models,
            *torch_mb,
        ),
        Stage("models", "open_clip and the exporter", MODELS_ENV, models, 60, 200),
        Stage("triton", "Triton Inference Server", MODELS_ENV, models, 56, 150),
        Stage("libpython", "the shared libpython that Triton's Python backend loads", MODELS_ENV, (), 3, 8),
    ]
    if tests:
        found += [
            Stage("tools", "linters, test tools, a Milvus server", GATEWAY_ENV, gateway, 260, 800),
            Stage("kubectl", "kubectl", GATEWAY_ENV, ("constraints/kubectl.txt",), 37, 60),
            Stage("busybox", "busybox", GATEWAY_ENV, (), 1, 1),
            Stage("test-tools", "pytest", MODELS_ENV, models, 3, 10),
        ]
    return found


def digest(stage: Stage, root: Path, *more: str) -> str:
    """Changes whenever what the stage installs changes."""
    content = hashlib.sha256("\0".join((stage.name, *more)).encode())
    for name in stage.files:
        content.update((root / name).read_bytes())
    return content.hexdigest()[:16]


def total(chosen: Sequence[Stage]) -> tuple[int, int]:
    """MB to download, and MB on disk."""
    return sum(stage.download_mb for stage in chosen), sum(stage.disk_mb for stage in chosen)
