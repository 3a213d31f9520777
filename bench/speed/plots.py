"""A run's results as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from bench.speed.report import OURS
from bench.speed.turns import beyond_decoding, median, medians, read

Facts = dict[str, Any]
WIDE = (14.0, 7.0)
SQUARE = (11.0, 7.0)
BLUE = "tab:blue"
STYLES = {"p50": "o-", "p95": ":", "p99": "--"}


def draw(results: Facts, folder: Path) -> list[Path]:
    """Writes the plots of what was measured; their files."""
    found = [pictures(facts, folder) for facts in results.get("images", ())]
    if results.keys() & {"growth", "labels", "decoding"}:
        found.append(scaling(results, folder))
    return found


def pictures(facts: Facts, folder: Path) -> Path:
    """Throughput by system; what is made of offered load; CPU time, stages of a call, times by callers."""
    figure, ((rates, kept, times), (cpu, stages, callers)) = plt.subplots(
        2, 3, figsize=WIDE, layout="constrained"
    )
    turns = facts["turns"]
    bars(rates, {name: median(found) for name, found in read(turns).items()}, "pictures/s, 16 callers")
    against_load(kept, times, facts["offered"])
    parts = medians([turn["cpu_ms"] for turn in turns[OURS]])
    parts["gateway, rest"] = beyond_decoding(parts)
    del parts["gateway"]
    bars(cpu, parts, "CPU ms a picture, 16 callers")
    spent = medians([turn["stage_ms"] for turn in turns[OURS]])
    bars(stages, spent, "ms of a call, waits included, 16 callers")
    points = {int(number): point for number, point in facts["concurrency"].items()}
    for what, style in STYLES.items():
        callers.plot(list(points), [it[what] for it in points.values()], style, color=BLUE, label=what)
    callers.set(xlabel="callers, clipserve", ylabel="ms", xscale="log", yscale="log")
    callers.set_xticks(list(points), list(map(str, points)))
    callers.minorticks_off()
    callers.legend(fontsize="small")
    figure.suptitle(f"{facts['model']}: JPEG bytes in, embeddings out")
    return saved(figure, folder / f"speed-{facts['model'].lower()}.svg")


def bars(axes: Any, values: Facts, what: str) -> None:
    """A bar for each value, ours in color."""
    names = list(values)[::-1]
    alone = OURS in values
    axes.barh(
        names, [values[name] for name in names],
        color=["silver" if alone and name != OURS else BLUE for name in names],
    )  # fmt: skip
    axes.set_xlabel(what)


def against_load(kept: Any, times: Any, offered: list[Facts]) -> None:
    """What each system made of the calls that it was offered, and how long they took."""
    for system in dict.fromkeys(point["system"] for point in offered):
        points = [point for point in offered if point["system"] == system]
        loads = [point["offered"] for point in points]
        [line] = kept.plot(loads, [point["rate"] for point in points], marker="o", label=system)
        for what, style in STYLES.items():
            times.plot(loads, [point[what] for point in points], style, color=line.get_color())
    kept.set(xlabel="offered, pictures/s", ylabel="answered, pictures/s", xlim=0, ylim=0)
    kept.legend(fontsize="small")
    times.set(xlabel="offered, pictures/s", ylabel="ms (p50 –, p95 ··, p99 - -)", yscale="log")


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
