"""A run's results as a table in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from bench.speed.protocols_report import protocols
from bench.speed.tables import spread, table
from bench.speed.turns import beyond_decoding, median, medians, ratio, read

Facts = dict[str, Any]
OURS, ENGINE = "clipserve", "the engine's direct call"


def markdown(runs: Facts) -> str:
    """The latest run of each suite, for people."""
    facts = {suite: run["facts"] for suite, run in runs.items()}
    sections = [
        head(runs),
        bars([bar for run in runs.values() for bar in run["bars"]]),
        *(pictures(it) for it in facts.get("images", ())),
        *(texts(it) for it in facts.get("texts", ())),
        *(labels(it) for it in facts.get("labels", ())),
        *(lanes(it) for it in facts.get("lanes", ())),
    ]
    for name, section in (
        ("precision", precisions),
        ("protocols", protocols),
        ("search", search),
        ("decoding", decoding),
        ("growth", growth),
    ):
        if facts.get(name):
            sections.append(section(facts[name]))
    return "\n\n".join(sections) + "\n"


def head(runs: Facts) -> str:
    """Where they were made, and of what."""
    return (
        "# Speed\n\nServers and load share the cores. Figures are medians of the rounds, with the least and "
        "the most; ratios are medians of the rounds' own.\n\n"
        + table(
            ("suites", "ended", "commit", "turns", "machine", "versions"),
            [(", ".join(suites), *made) for made, suites in by_making(runs).items()],
        )
    )


def by_making(runs: Facts) -> dict[tuple[str, ...], list[str]]:
    """Suites by the day, commit, scale and machine of their latest run."""
    found: dict[tuple[str, ...], list[str]] = {}
    for suite, run in runs.items():
        machine, scale = run["machine"], run["scale"]
        made = (
            machine["time"][:10],
            machine["commit"],
            f"{scale['rounds']} of {scale['seconds']:g} s",
            f"{machine['processor']}, {machine['cores']} cores ({', '.join(machine['instructions'])}), "
            f"{machine['memory_gib']} GiB",
            f"Python {machine['python']}, "
            + ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        )
        found.setdefault(made, []).append(suite)
    return found


def bars(rows: Sequence[Facts]) -> str:
    """What was promised."""
    lines = [
        (
            row["what"],
            f"{row['value']:.4g}",
            f"{'≤' if row['most'] else '≥'} {row['bound']:g}",
            "yes" if row["kept"] else "**no**",
        )
        for row in rows
    ]
    return "## Promises\n\n" + table(("figure", "seen", "promised", "kept"), lines)


def pictures(facts: Facts) -> str:
    """One model's pictures: systems by turns, CPU time, times against load, callers."""
    turns = read(facts["turns"])
    base = turns["ceiling"]
    rows = [
        (
            name,
            spread(found, "rate"),
            f"{ratio(found, base):.2f}",
            *(spread(found, q) if found[0].p50 else "–" for q in ("p50", "p95", "p99")),
        )
        for name, found in turns.items()
    ]
    ways = {(way["layout"], way["batch"]): way["rate"] for way in facts["ceilings"]}
    layouts, batches = (sorted({way[part] for way in ways}) for part in (0, 1))
    tried = [(layout, *(f"{ways[layout, batch]:.1f}" for batch in batches)) for layout in layouts]
    cpu = medians([turn.cpu_ms for turn in turns[OURS]])
    parts = ", ".join(f"{name} {ms:.2f}" for name, ms in cpu.items() if name != "decoding")
    spent = medians([turn.stage_ms for turn in turns[OURS]])
    stages = ", ".join(f"{name} {ms:.1f}" for name, ms in spent.items())
    idle = facts.get("idle", {})
    offered = [
        (
            point["system"],
            f"{point['offered']:.1f} ({point['part']:.0%})",
            f"{point['rate']:.1f}",
            *(f"{point[q]:.0f}" for q in ("p50", "p95", "p99")),
            f"{beyond_decoding(point['cpu_ms'], idle_ms(idle, point['rate'])):.2f}"
            if point["system"] == OURS
            else "–",
            str(sum(point["failures"].values())),
        )
        for point in facts["offered"]
    ]
    callers = [
        (n, f"{t['rate']:.1f}", f"{t['p50']:.0f}", f"{t['p99']:.0f}") for n, t in facts["concurrency"].items()
    ]
    return (
        f"## Pictures, {facts['model']}\n\n"
        "16 callers of one picture each; the ceiling is the fastest of the ways below.\n\n"
        + table(("system", "pictures/s", "of the ceiling", "p50 ms", "p95 ms", "p99 ms"), rows)
        + "\n\n"
        + table(("the ceiling's ways, pictures/s", *(f"batches of {batch}" for batch in batches)), tried)
        + f"\n\nCPU milliseconds a picture: {parts}; of the gateway's, decoding takes {cpu['decoding']:.2f}. "
        f"Milliseconds that a picture spent in each stage, waits included: {stages}.\n\n"
        + at_rest(idle)
        + table(
            (
                "system",
                "offered, pictures/s (of our peak)",
                "answered",
                "p50 ms",
                "p95 ms",
                "p99 ms",
                "gateway CPU ms beyond decoding" + (" and idle cost" if idle else ""),
                "failed",
            ),
            offered,
        )
        + "\n\n"
        + table(("callers", "pictures/s", "p50 ms", "p99 ms"), callers)
    )


def at_rest(idle: Facts) -> str:
    """What processes take while nobody calls, if that was measured."""
    shares = ", ".join(f"{name} {share:.2%}" for name, share in idle.items() if name in ("gateway", "Triton"))
    return f"While nobody calls, of one core: {shares}.\n\n" if idle else ""


def idle_ms(idle: Facts, rate: float) -> float:
    """Milliseconds of idle cost that fall to one item."""
    return 1000 * float(idle.get("gateway", 0.0)) / rate if rate else 0.0


def texts(facts: Facts) -> str:
    """One model's texts."""
    rows = []
    for kind, systems in facts["turns"].items():
        own, full = read(systems).values()
        rates = (spread(it, "rate") for it in (own, full))
        rows.append((kind, *rates, f"{ratio(own, full):.1f}"))
    batches = {name: median(it, "p50") for name, it in read(facts["batches"]).items()}
    return (
        f"## Texts, {facts['model']}\n\n32 callers of one text each, texts/s through the gateway.\n\n"
        + table(("texts", "at their own length", "at 77 tokens", "ratio"), rows)
        + f"\n\nA call of 15 short texts and one of 77 tokens: {batches['whole']:.0f} ms; the 15 alone "
        f"{batches['short']:.0f} ms, the long one alone {batches['long']:.0f} ms."
    )


def precisions(facts: Facts) -> str:
    """One model in fp32 and in bf16."""
    pictures = read(facts["pictures"])
    fp32 = pictures[f"{OURS}, fp32"]
    rows = [
        (
            name,
            spread(found, "rate"),
            f"{ratio(found, fp32):.2f}",
            spread(found, "p50") if found[0].p50 else "–",
        )
        for name, found in pictures.items()
    ]
    lines = []
    for kind, systems in facts["texts"].items():
        turns = read(systems)
        rates = [spread(turns[precision], "rate") for precision in ("fp32", "bf16")]
        lines.append((kind, *rates, f"{ratio(turns['bf16'], turns['fp32']):.2f}"))
    return (
        f"## Precision, {facts['model']}\n\n`--precision auto` takes bf16: {facts['reason']}. "
        f"Lowest cosine of its embeddings to those in fp32: {facts['agreement']:.5f}.\n\n"
        "16 callers of one picture each:\n\n"
        + table(("system", "pictures/s", "of clipserve in fp32", "p50 ms"), rows)
        + "\n\n32 callers of one text each:\n\n"
        + table(("texts", "texts/s in fp32", "texts/s in bf16", "ratio"), lines)
    )


def labels(facts: Facts) -> str:
    """One model's label sets."""
    built = facts["built"]
    ours, theirs = (statistics.median(built[f"{who}_seconds_a_label"]) for who in ("ours", "theirs"))
    rows = [
        (f"{row['labels']:,}" if row["labels"] else "Embed", f"{row['p50']:.1f}") for row in facts["growth"]
    ]
    return (
        f"## Label sets, {facts['model']}\n\n"
        f"80 templates: {ours * 1000:.0f} ms a label ({built['labels'][0]:,} labels), open_clip's builder "
        f"{theirs * 1000:.0f} ms ({built['labels'][1]} labels): {built['gain']:.1f} times as fast.\n\n"
        + table(("warm labels", "Classify p50 ms, one caller"), rows)
    )


def lanes(facts: Facts) -> str:
    """One model's lone callers beside a bulk job."""
    rows = [
        (name, *(spread(found, what, 0) for what in ("p50", "p95", "p99")))
        for name, found in read(facts["turns"]).items()
    ]
    bulk = ", ".join(f"{name} {statistics.median(rates):.1f}" for name, rates in facts["bulk"].items())
    return (
        f"## A lone caller beside a bulk job, {facts['model']}\n\n"
        + table(("the caller's", "p50 ms", "p95 ms", "p99 ms"), rows)
        + f"\n\nThe bulk job's pictures/s: {bulk}."
    )


def search(facts: Facts) -> str:
    """Search by embedding."""
    turns = read(facts["turns"])
    engine = turns[ENGINE]
    rows = [
        (
            name,
            *(spread(found, q, 2) for q in ("p50", "p95", "p99")),
            f"{ratio(found, engine, 'p50'):.2f}",
            f"{statistics.median(sum(turn.cpu_ms.values()) for turn in found):.1f}",
        )
        for name, found in turns.items()
    ]
    return (
        f"## Search, {facts['points']:,} points of {facts['dim']} dimensions\n\nWritten at "
        f"{facts['ingest_per_second']:,.0f} points/s. One caller, ten hits; of the true ten, "
        f"{facts['recall']:.3f} are found.\n\n"
        + table(("system", "p50 ms", "p95 ms", "p99 ms", "p50 of the engine's", "CPU ms a search"), rows)
    )


def decoding(facts: Facts) -> str:
    """Decoding by size."""
    rows = [
        (
            f"{row['width']} × {row['height']}",
            f"{row['bytes'] / 1000:,.0f}",
            f"{row['exact']:.2f}",
            f"{row['fast']:.2f}",
            f"{row['exact'] / row['fast']:.1f}",
        )
        for row in facts["sizes"]
    ]
    heads = ("JPEG", "kB", "exact, CPU ms", "fast, CPU ms", "ratio")
    return (
        "## Decoding\n\n"
        + table(heads, rows)
        + f"\n\nLowest cosine at 12 megapixels: {facts['agreement']:.5f}."
    )


def growth(facts: Facts) -> str:
    """Items of a call."""
    rows = [
        (
            str(one["items"]),
            f"{one['rate']:.1f}",
            f"{one['p50']:.0f}",
            f"{two['rate']:.0f}",
            f"{two['p50']:.1f}",
        )
        for one, two in zip(facts["pictures"], facts["texts"], strict=True)
    ]
    return f"## Items of a call, {facts['model']}, two callers\n\n" + table(
        ("items", "pictures/s", "p50 ms", "texts/s", "p50 ms"), rows
    )
