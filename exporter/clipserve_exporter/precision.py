"""The device that will serve a model, and the precision that `--precision auto` chooses for it.

A precision other than fp32 is chosen only if the embeddings of both towers stay near open_clip's: see
MIN_COSINE. Imports torch only to look for a GPU.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

AUTO = "auto"
DEVICES = ("cpu", "cuda")
MIN_COSINE = 0.9999
"""Smallest cosine with open_clip in float32 that a chosen precision must keep, for images and for texts."""
BF16_UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
"""Processor flags of Linux, and what people call them, the fastest first."""
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Choice:
    """A precision and the reason for it, which continues the words 'chosen: '."""

    precision: str
    reason: str


def device_here() -> str:
    """Returns `cuda` if torch sees a GPU on this machine, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def processor_flags() -> Set[str]:
    """Returns the flags of this machine's processor; none if Linux does not report any."""
    try:
        match = re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        match = None
    return frozenset(match[1].split()) if match else frozenset()


def choose(format_: str, device: str, flags: Set[str]) -> Choice:
    """Chooses a precision by the format (libtorch or python), the device and the processor's flags."""
    if device == "cuda":
        return Choice("fp16", "a GPU serves")
    if format_ != "python":
        return Choice("fp32", "in bf16 Triton's libtorch backend is slow on a CPU")
    unit = next((name for flag, name in BF16_UNITS.items() if flag in flags), "")
    if not unit:
        return Choice("fp32", f"this processor has neither {' nor '.join(BF16_UNITS.values())}")
    return Choice("bf16", f"this processor has {unit}")


def instead(choice: Choice, cosine: float, where: str) -> Choice:
    """Chooses fp32 after a comparison with too small a cosine; `where` names the comparison."""
    return Choice(
        "fp32",
        f"{choice.reason}, but in {choice.precision} the lowest cosine to open_clip is {cosine:.5f} "
        f"({where}), and {MIN_COSINE} is needed",
    )


def warnings_of(precision: str, device: str) -> tuple[str, ...]:
    """Returns what is wrong with a precision on a device, a sentence each without its full stop."""
    if precision != "fp16" or device != "cpu":
        return ()
    return (
        "On a CPU fp16 is no faster than fp32, and the model takes minutes to load: export with --precision "
        "auto or fp32, or name the device that will serve with --device cuda",
    )
