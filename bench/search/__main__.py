"""Measures the search engines from a thousand points to a million: time, recall, memory and disk.

\b
python -m bench.search --engine lance --engine milvus --sizes 1000,10000,100000,1000000 --out search.json
python -m bench.search show search.json
python -m bench.search plot search.json --out docs/images/search.svg

Each engine and size is a process of its own, one after the other. Figures are kept as soon as they are
there; what is in the file already is not measured again.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

ENGINES = ("lance", "milvus", "milvus-lite")
SIZES = "1000,10000,100000,1000000"
NAMES = {"lance": "LanceDB", "milvus": "Milvus", "milvus-lite": "milvus-lite"}
MB = 1_000_000


@click.group(invoke_without_command=True, help=__doc__)
@click.option("--engine", "engines", multiple=True, type=click.Choice(ENGINES), default=ENGINES[:1])
@click.option("--sizes", default=SIZES, show_default=True, help="Points, with commas between.")
@click.option("--dim", default=512, show_default=True, help="Numbers of an embedding.")
@click.option("--queries", default=100, show_default=True, help="Of each kind.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("search.json"), show_default=True)
@click.pass_context
def main(
    context: click.Context, engines: tuple[str, ...], sizes: str, dim: int, queries: int, out: Path
) -> None:
    """See the module's docstring."""
    if context.invoked_subcommand is not None:
        return
    found: list[dict[str, Any]] = json.loads(out.read_text()) if out.exists() else []
    there = {(row["engine"], row["points"], row["dim"]) for row in found}
    for points in map(int, sizes.split(",")):
        for engine in engines:
            if (engine, points, dim) in there:
                continue
            click.echo(f"· {NAMES[engine]}, {points:,} points", err=True)
            command = [
                sys.executable,
                "-m",
                "bench.search",
                "one",
                engine,
                str(points),
                str(dim),
                str(queries),
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found.append(json.loads(done.stdout))
            out.write_text(json.dumps(found, indent=1))
    click.echo(table(found))


@main.command("one", hidden=True)
@click.argument("engine")
@click.argument("points", type=int)
@click.argument("dim", type=int)
@click.argument("queries", type=int)
def one(engine: str, points: int, dim: int, queries: int) -> None:
    """One engine at one size."""
    from bench.search.measure import measure

    click.echo(json.dumps(asyncio.run(measure(engine, points, dim, queries))))


@main.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
def show(file: Path) -> None:
    """Show the figures as a table."""
    click.echo(table(json.loads(file.read_text())))


COLUMNS = {
    "engine": lambda row: NAMES[row["engine"]],
    "points": lambda row: f"{row['points']:,}",
    "ingest /s": lambda row: f"{row['ingest_per_s']:,.0f}",
    "then index, s": lambda row: f"{row['index_s']:.1f}",
    "picture query p50 (p95), ms": lambda row: f"{row['picture_p50']:.1f} ({row['picture_p95']:.1f})",
    "text query p50, ms": lambda row: f"{row['text_p50']:.1f}",
    "searches/s, 8 callers": lambda row: f"{row['qps']:,.0f}",
    "recall@10 picture / text": lambda row: f"{row['picture_recall']:.3f} / {row['text_recall']:.3f}",
    "filter 10 %: recall, ms": lambda row: f"{row['filter 10 %_recall']:.3f}, {row['filter 10 %_p50']:.1f}",
    "filter 1 %: recall, ms": lambda row: f"{row['filter 1 %_recall']:.3f}, {row['filter 1 %_p50']:.1f}",
    "numpy, ms": lambda row: f"{row['numpy_p50']:.1f}",
    "upsert 1, ms": lambda row: f"{row['upsert_one']:.0f}",
    "get 10, ms": lambda row: f"{row['fetch_ten']:.1f}",
    "scroll 1,000, ms": lambda row: f"{row['scroll_page']:.0f}",
    "count, ms": lambda row: f"{row['count']:.1f}",
    "RAM, MB": lambda row: f"{row['ram'] / MB:,.0f}",
    "disk, MB": lambda row: f"{row['disk'] / MB:,.0f}",
}


def table(rows: list[dict[str, Any]]) -> str:
    """The figures in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    rows = sorted(rows, key=lambda row: (row["points"], row["engine"]))
    lines += ["| " + " | ".join(write(row) for write in COLUMNS.values()) + " |" for row in rows]
    return "\n".join(lines)


PLOTS = {
    "search, one caller: p50 in ms": lambda row: row["picture_p50"],
    "searches/s, 8 callers": lambda row: row["qps"],
    "recall@10, text queries": lambda row: row["text_recall"],
    "points written and indexed, /s": lambda row: (
        row["points"] / (row["points"] / row["ingest_per_s"] + row["index_s"])
    ),
    "RAM in GB": lambda row: row["ram"] / 1e9,
    "disk in GB": lambda row: row["disk"] / 1e9,
}
LINEAR = {"recall@10, text queries"}


@main.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/images/search.svg"))
def plot(file: Path, out: Path) -> None:
    """Draw the figures."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "clipserve", "svg.fonttype": "none"}
    from matplotlib import pyplot

    rows = json.loads(file.read_text())
    figure, axes = pyplot.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for (title, value), axis in zip(PLOTS.items(), axes.flat, strict=True):
        for engine in ENGINES:
            mine = sorted((row for row in rows if row["engine"] == engine), key=lambda row: row["points"])
            if mine:
                axis.plot(
                    [row["points"] for row in mine], list(map(value, mine)), marker="o", label=NAMES[engine]
                )
        if title.startswith("search, one"):
            mine = sorted({row["points"]: row["numpy_p50"] for row in rows}.items())
            axis.plot(*zip(*mine, strict=True), "--", color="gray", label="numpy, exact")
        axis.set_xscale("log")
        if title in LINEAR:
            axis.set_ylim(0, 1.02)
        else:
            axis.set_yscale("log")
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_xlabel("points")
        axis.grid(alpha=0.3)
    axes.flat[0].legend()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main()
