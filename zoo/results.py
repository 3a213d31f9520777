"""The results of rows, as a file keeps them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo import DATA

RESULTS = DATA / "results.json"
EXTENSIONS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")
"""Extensions of x86-64 that decide the speed, the best first, as /proc/cpuinfo names them."""


def read(path: Path = RESULTS) -> dict[str, Any]:
    """Row → its result; empty if there is no file."""
    return json.loads(path.read_text()) if path.exists() else {}


def update(path: Path, fresh: Mapping[str, Any], order: list[str]) -> dict[str, Any]:
    """Writes new results over those of earlier runs; rows that are no longer in `order` go."""
    merged = read(path) | fresh
    rows = {name: merged[name] for name in order if name in merged}
    lines = [f" {json.dumps(name)}: {json.dumps(row, sort_keys=True)}" for name, row in rows.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return rows


def machine() -> str:
    """The processor, its best extension, and the number of cores of this process."""
    info = Path("/proc/cpuinfo").read_text()
    fields = dict(line.split("\t", 1) for line in info.splitlines() if "\t" in line)
    model = fields.get("model name", fields.get("model name\t", "")).strip("\t: ") or platform.processor()
    flags = info.split("flags", 1)[-1].split("\n", 1)[0].split()
    best = next((name for name in EXTENSIONS if name in flags), "")
    cores = len(os.sched_getaffinity(0))
    return f"{model} ({best or 'no AVX2'}), {cores} cores"


def line(name: str, result: Mapping[str, Any]) -> str:
    """One row's result in one line."""
    if not result["passed"]:
        return f"✗ {name}: {'; '.join(result['problems'])}"
    seen = ", ".join(
        f"{precision} {one['image_cosine']:.6f} / {one['text_cosine']:.6f}{speeds(one)}"
        for precision, one in result["precisions"].items()
    )
    return f"✓ {name}: pixels and ids equal, {result['text_length']} texts; {seen}"


def speeds(seen: Mapping[str, Any]) -> str:
    """The speeds of a row in one precision, after a comma; empty for a shrunk row."""
    if "images_per_second" not in seen:
        return ""
    return f", {figure(seen['images_per_second'])} images/s, {figure(seen['texts_per_second'])} texts/s"


def figure(value: float) -> str:
    """A figure with three digits that count: 3.87, 71.3, 1,430."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
