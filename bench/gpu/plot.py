"""A GPU measurement as a drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot
from matplotlib.ticker import NullLocator

Found = dict[str, Any]
MODE = {True: "fast", False: "exact"}
FORMS = {"batch128": "batches to 128", "batch64x2": "2 instances × 64", "batch64x4": "4 instances × 64"}


def draw(found: Found, out: Path) -> None:
    """Throughput by batch size, its share of the matrix rate, Triton by callers, decoding by threads."""
    matplotlib.use("svg")
    matplotlib.rcParams |= {
        "svg.hashsalt": "clipserve",
        "svg.fonttype": "none",
        "font.sans-serif": ["DejaVu Sans"],
    }
    figure, axes = pyplot.subplots(2, 2, figsize=(12, 8.4), layout="constrained")
    towers(axes[0, 0], axes[0, 1], found)
    triton(axes[1, 0], found)
    decoding(axes[1, 1], found)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
        axis.yaxis.set_minor_locator(NullLocator())
    machine = found["machine"]
    figure.suptitle(f"{machine['card']}, {machine['cores']} cores, PyTorch {machine['torch']}", fontsize=11)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


def towers(speed: Any, share: Any, found: Found) -> None:
    """fp16 towers by batch size: items a second in device memory and from the host; use of the card."""
    mine = [tower for tower in found["towers"] if tower["precision"] == "fp16" and tower["tokens"] != 77]
    for number, tower in enumerate(mine):
        rows, color = tower["rows"], f"C{number}"
        name = f"{tower['model']} {'images' if tower['tower'] == 'image' else 'texts of 16 tokens'}"
        batches = [row["batch"] for row in rows]
        speed.plot(batches, [row["device_per_s"] for row in rows], marker="o", ms=3, color=color, label=name)
        speed.plot(batches, [row["host_per_s"] for row in rows], ":", color=color)
        share.plot(batches, [100 * row["utilization"] for row in rows], marker="o", ms=3, color=color)
    speed.plot([], [], ":", color="gray", label="dotted: one caller, from the host and back")
    speed.set_yscale("log")
    speed.set_title("TorchScript in fp16, items/s", loc="left", fontsize=11)
    share.set_title("of the rate of a large matrix product, %", loc="left", fontsize=11)
    share.plot([], [], color="gray", label="colors as on the left")
    for axis in (speed, share):
        by_powers(axis, batches)
        axis.set_xlabel("batch")


def triton(axis: Any, found: Found) -> None:
    """Triton by images under way, by way in; the device's own pace for comparison."""
    for (transport, items), label in {
        ("grpc", 1): "gRPC, one image a request",
        ("grpc", 8): "gRPC, eight images a request",
        ("shm", 1): "shared memory, one image a request",
    }.items():
        rows = [row for row in found["triton"] if way_of(row) == ("first_image", transport, items, 1)]
        under_way = [row["callers"] * items for row in rows]
        axis.plot(under_way, [row["per_s"] for row in rows], marker="o", ms=4, label=label)
    for number, (name, label) in enumerate(FORMS.items()):
        for prefix, marker in (("", "s"), ("other-", "*")):
            rows = [row for row in found["triton"] if way_of(row)[:3] == (f"{prefix}{name}_image", "grpc", 8)]
            told = f"{label}, eight a request" + (", backend changed" if prefix else "")
            axis.plot(
                [256 * 2 ** (0.15 * number)] * len(rows), [row["per_s"] for row in rows], marker,
                color=f"C{number + 3}", ms=7, label=told,
            )  # fmt: skip
    image = next(t for t in found["towers"] if t["tower"] == "image" and t["precision"] == "fp16")
    limit = next(row["device_per_s"] for row in image["rows"] if row["batch"] == 64)
    axis.axhline(limit, ls="--", color="gray", label="the device alone, batch 64")
    by_powers(axis, [row["callers"] for row in found["triton"]])
    axis.set_ylim(0)
    axis.set_title(f"{image['model']} in Triton, images/s", loc="left", fontsize=11)
    axis.set_xlabel("images under way (lines: one instance, batches to 32)")


def way_of(row: Found) -> tuple[str, str, int, int]:
    """What tells points apart beside the number of callers."""
    return row["model"], row["transport"], row["items"], row.get("run", 1)


def by_powers(axes: Any, values: list[int]) -> None:
    """A logarithmic scale across, with plain numbers."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(set(values)), labels=[str(value) for value in sorted(set(values))])
    axes.xaxis.set_minor_locator(NullLocator())


def decoding(axis: Any, found: Found) -> None:
    """Pictures decoded by threads of one process."""
    rows = found["decode"]
    for number, (width, height) in enumerate(dict.fromkeys((row["width"], row["height"]) for row in rows)):
        for fast, line in ((True, "-"), (False, ":")):
            mine = [
                row for row in rows if (row["width"], row["height"], row["fast"]) == (width, height, fast)
            ]
            label = f"{width} × {height} {MODE[fast]}"
            threads, speed = zip(*((row["threads"], row["images_per_s"]) for row in mine), strict=True)
            axis.plot(threads, speed, line, marker="o", ms=3, color=f"C{number}", label=label)
    by_powers(axis, [row["threads"] for row in rows])
    axis.set_yscale("log")
    axis.set_title("JPEGs decoded by one process, /s", loc="left", fontsize=11)
    axis.set_xlabel("threads")
