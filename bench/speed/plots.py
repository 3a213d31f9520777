"""A run's results as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from bench.speed.turns import beyond_decoding, medians

Facts = dict[str, Any]
SIZE = (11.0, 4.0)
SQUARE = (11.0, 7.0)


def draw(results: Facts, folder: Path) -> list[Path]:
    """Writes the plots of what was measured; their files."""
    found = [pictures(facts, folder) for facts in results.get("images", ())]
    if results.keys() & {"growth", "labels", "decoding"}:
        found.append(scaling(results, folder))
    return found


def pictures(facts: Facts, folder: Path) -> Path:
    """Throughput by system, times against offered load, CPU time by process."""
    figure, (rates, times, cpu) = plt.subplots(1, 3, figsize=SIZE, layout="constrained")
    turns = facts["turns"]
    names = list(turns)
    middle = [sorted(turn["rate"] for turn in turns[name])[len(turns[name]) // 2] for name in names]
    rates.barh(
        names[::-1], middle[::-1], color=["tab:blue" if n == "clipserve" else "silver" for n in names[::-1]]
    )
    rates.set_xlabel("pictures/s, 16 callers")
    for system in dict.fromkeys(point["system"] for point in facts["offered"]):
        points = [point for point in facts["offered"] if point["system"] == system]
        [line] = times.plot([p["rate"] for p in points], [p["p50"] for p in points], marker="o", label=system)
        color = line.get_color()
        times.plot([p["rate"] for p in points], [p["p95"] for p in points], ":", color=color)
        times.plot([p["rate"] for p in points], [p["p99"] for p in points], "--", color=color)
    times.set(xlabel="offered, pictures/s", ylabel="ms (p50 –, p95 ··, p99 - -)", yscale="log")
    times.legend(fontsize="small")
    parts = medians([turn["cpu_ms"] for turn in turns["clipserve"]])
    parts["gateway, rest"] = beyond_decoding(parts)
    del parts["gateway"]
    cpu.barh(list(parts)[::-1], list(parts.values())[::-1], color="tab:blue")
    cpu.set_xlabel("CPU ms a picture")
    figure.suptitle(f"{facts['model']}: JPEG bytes in, embeddings out")
    return saved(figure, folder / f"speed-{facts['model'].lower()}.svg")


def scaling(results: Facts, folder: Path) -> Path:
    """Cost as calls, label sets and pictures grow, and with callers."""
    figure, ((items, labels), (callers, sizes)) = plt.subplots(2, 2, figsize=SQUARE, layout="constrained")
    if growth := results.get("growth"):
        for kind in ("pictures", "texts"):
            points = growth[kind]
            items.plot([p["items"] for p in points], [p["rate"] for p in points], marker="o", label=kind)
        items.set(xlabel="items of a call", ylabel=f"items/s, {growth['model']}", xscale="log", yscale="log")
        items.legend()
    for facts in results.get("labels", ()):
        points = facts["growth"][1:]
        labels.plot(
            [p["labels"] for p in points], [p["p50"] for p in points], marker="o", label=facts["model"]
        )
    labels.set(xlabel="warm labels", ylabel="Classify p50 ms", xscale="log")
    for facts in results.get("images", ()):
        points = facts["concurrency"]
        callers.plot(
            [int(n) for n in points], [p["rate"] for p in points.values()], marker="o", label=facts["model"]
        )
    callers.set(xlabel="callers", ylabel="pictures/s", xscale="log")
    if found := results.get("decoding"):
        pixels = [row["width"] * row["height"] / 1e6 for row in found["sizes"]]
        for mode in ("exact", "fast"):
            sizes.plot(pixels, [row[mode] for row in found["sizes"]], marker="o", label=mode)
        sizes.set(xlabel="megapixels of a JPEG", ylabel="CPU ms to decode it", xscale="log", yscale="log")
        sizes.legend()
    for axes in (labels, callers):
        axes.set_ylim(bottom=0)
        if axes.lines:
            axes.legend()
    return saved(figure, folder / "speed-growth.svg")


def saved(figure: Any, file: Path) -> Path:
    """Writes a figure, the same bytes for the same figures."""
    mpl.rcParams["svg.hashsalt"] = "clipserve"
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
    return file
