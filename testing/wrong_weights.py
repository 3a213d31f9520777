"""Models that answer as quickly as ever, and wrong: their weights are not those that were exported."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from clipserve_exporter.versions import served_version

SMALLEST = 1024
"""Bytes: what is smaller are counters and scalars, or of little weight."""


def perturb(tower: Path, spread: float = 0.3) -> None:
    """Multiplies each weight (float32) of a tower by a random number around 1; `spread` is of its logarithm.

    So variances stay positive, and masks infinite. A Triton that polls its repository loads the tower anew.
    """
    file = tower / served_version(tower) / "model.pt"
    new = file.with_suffix(".new")
    noise = np.random.default_rng(0)
    # TorchScript is a zip in which each tensor's numbers are a file, as they lie in memory.
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(new, "w") as out:
        for entry in old.infolist():
            content = old.read(entry)
            if Path(entry.filename).parent.name == "data" and len(content) >= SMALLEST:
                weights = np.frombuffer(content, "<f4")
                factors = np.exp(spread * noise.standard_normal(weights.shape, np.float32))
                content = (weights * factors).astype("<f4").tobytes()
            out.writestr(entry.filename, content)
    # At once: who reads it meanwhile reads the old file or the new one, whole.
    new.replace(file)
