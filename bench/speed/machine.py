"""Where and of what a run was made."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

from bench.speed import ROOT

PACKAGES = ("clipserve", "grpcio", "lancedb", "numpy", "pillow", "protobuf", "tritonclient")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def machine() -> dict[str, object]:
    """The processor and what it can do, memory, versions, commit, and the time."""
    info = Path("/proc/cpuinfo").read_text()
    name, flags = (re.search(rf"^{word}\s*: (.*)$", info, re.MULTILINE) for word in ("model name", "flags"))
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "processor": name[1] if name else platform.machine(),
        "instructions": [flag for flag in FLAGS if flags and flag in flags[1].split()],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "commit": commit.stdout.strip(),
        "time": f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%d %H:%M} UTC",
    }
