"""The figures of a GPU measurement as Markdown tables and as a drawing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Found = dict[str, Any]


def tables(found: Found) -> str:
    """All figures, a heading for each part."""
    machine, ceilings = found["machine"], found["ceilings"]
    parts = [
        "## Machine\n\n" + table(["", ""], ([key, value] for key, value in machine.items())),
        "## Ceilings\n\n" + table(["", ""], ([key, f"{value:,.1f}"] for key, value in ceilings.items())),
        *(f"## {title_of(tower)}\n\n{tower_table(tower)}" for tower in found.get("towers", [])),
        *(
            f"## Kernels: {title_of(one)}, batch {one['batch']}\n\n{kernel_table(one)}"
            for one in found.get("profile", [])
        ),
        *(
            f"## Variants: {title_of(one)}\n\n{variant_table(one['rows'])}"
            for one in found.get("variants", [])
        ),
        "## Pictures to the device\n\n" + gather_table(found.get("gathering", [])),
        "## New batch sizes\n\n" + first_table(found.get("first_calls", [])),
        "## Triton\n\n" + triton_table(found.get("triton", [])),
        "## Decoding\n\n" + decode_table(found.get("decode", [])),
    ]
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def title_of(one: Found) -> str:
    """Model, tower, precision and length of a measurement."""
    words = [one["model"], one["tower"], one.get("precision", "")]
    words += [f"{one['tokens']} tokens"] if one.get("tokens") else []
    return " ".join(word for word in words if word)


def tower_table(tower: Found) -> str:
    """Throughput and latency by batch size."""
    head = ["batch", "p50, ms", "/s", "of the matrix rate", "p50 from the host, ms", "/s", "/s, pinned"]
    return f"{tower['flops'] / 1e9:.2f} GFLOP each, cosine ≥ {tower['min_cosine']:.6f}\n\n" + table(
        head,
        (
            [
                row["batch"],
                f"{row['device_ms']:.2f}",
                f"{row['device_per_s']:,.0f}",
                f"{row['utilization']:.0%}",
                f"{row['host_ms']:.2f}",
                f"{row['host_per_s']:,.0f}",
                f"{row.get('pinned_per_s', 0):,.0f}",
            ]
            for row in tower["rows"]
        ),
    )


def kernel_table(one: Found) -> str:
    """The dearest kernels of a call."""
    rows = (
        [f"`{k['kernel'][:90]}`", f"{k['count']:.0f}", f"{k['us']:,.0f}", f"{k['share']:.1%}"]
        for k in one["top"]
    )
    told = f"{one['wall_us']:,.0f} µs a call, of which kernels {one['kernels_us']:,.0f}\n\n"
    return told + table(["kernel", "times", "µs", "share"], rows)


def variant_table(rows: list[Found]) -> str:
    """Items a second of each variant by batch size."""
    batches = sorted({row["batch"] for row in rows if "batch" in row})
    lines = []
    for name in dict.fromkeys(row["variant"] for row in rows):
        mine = {row.get("batch"): row for row in rows if row["variant"] == name}
        cells = [
            f"{mine[b]['device_per_s']:,.0f}" if "device_per_s" in mine.get(b, {}) else "–" for b in batches
        ]
        cosines = [row["cosine"] for row in mine.values() if "cosine" in row]
        lines.append([name, *cells, f"{min(cosines):.6f}" if cosines else next(iter(mine.values()))["error"]])
    return table(["", *(f"batch {batch}" for batch in batches), "cosine"], lines)


def first_table(rows: list[Found]) -> str:
    """What new batch sizes cost."""
    return table(
        [
            "model",
            "without",
            "new sizes",
            "calls over 40 ms",
            "worst, ms",
            "first calls together, ms",
            "later, ms",
        ],
        (
            [
                title_of(row),
                row["without"] or "–",
                len(row["first_ms"]),
                row["over_40_ms"],
                f"{row['worst_ms']:,.0f}",
                f"{row['sum_of_firsts_ms']:,.0f}",
                ", ".join(f"{batch}: {ms:.1f}" for batch, ms in row["steady_ms"].items()),
            ]
            for row in rows
        ),
    )


def gather_table(rows: list[Found]) -> str:
    """Single pictures to the device, in ms by batch size."""
    batches = sorted({row["batch"] for row in rows})
    ways = dict.fromkeys((row["way"], row["threads"]) for row in rows)
    lines = []
    for way, threads in ways:
        mine = {row["batch"]: row["ms"] for row in rows if (row["way"], row["threads"]) == (way, threads)}
        lines.append([way, threads, *(f"{mine[batch]:.2f}" for batch in batches)])
    return table(["way", "threads", *(f"batch {batch}, ms" for batch in batches)], lines)


def triton_table(rows: list[Found]) -> str:
    """Triton by model, transport and callers."""
    head = ["model", "input", "items", "callers", "/s", "p50, ms", "p99, ms", "mean batch", "waits, ms"]
    return table(
        [*head, "a batch takes, ms", "cores: server", "backend", "callers"],
        (
            [
                row["model"],
                row["transport"],
                row["items"],
                row["callers"],
                f"{row['per_s']:,.0f}",
                f"{row['p50_ms'] or 0:.1f}",
                f"{row['p99_ms'] or 0:.1f}",
                f"{row['mean_batch']:.1f}",
                f"{row['queue_ms']:.1f}",
                f"{row['execution_ms']:.1f}",
                f"{row['cores']['tritonserver']:.1f}",
                f"{row['cores']['backend']:.1f}",
                f"{row['client_cores']:.1f}",
            ]
            for row in rows
        ),
    )


def decode_table(rows: list[Found]) -> str:
    """Pictures decoded a second by threads."""
    threads = sorted({row["threads"] for row in rows})
    lines = []
    for key in dict.fromkeys((row["width"], row["height"], row["fast"]) for row in rows):
        mine = {row["threads"]: row for row in rows if (row["width"], row["height"], row["fast"]) == key}
        cells = [f"{mine[count]['images_per_s']:,.0f}" for count in threads]
        lines.append(
            [f"{key[0]}×{key[1]}", "fast" if key[2] else "exact", f"{mine[1]['cpu_ms']:.2f}", *cells]
        )
    return table(["JPEG", "mode", "CPU ms", *(f"{count} threads, /s" for count in threads)], lines)
