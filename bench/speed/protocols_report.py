"""The results of the suite `protocols` as tables."""

from __future__ import annotations

import statistics
from typing import Any

from bench.speed.tables import spread, table
from bench.speed.turns import ratio, read

Facts = dict[str, Any]


def protocols(facts: Facts) -> str:
    """Embed by each protocol, and gRPC beside an API port that nobody uses."""
    sections = [
        table((kind, "calls/s", "of gRPC", "p50 ms", "gateway CPU ms", "load CPU ms"), protocol_rows(turns))
        for kind, turns in facts["turns"].items()
    ]
    unused = table(("gRPC, one text", "calls/s", "of gRPC alone", "p50 ms", "gateway CPU ms"), [
        row[:5] for row in protocol_rows(facts["unused"])
    ])  # fmt: skip
    return f"## Protocols, {facts['model']}, {facts['callers']} callers\n\n" + "\n\n".join(
        [*sections, unused]
    )


def protocol_rows(turns: Facts) -> list[tuple[str, ...]]:
    """Rates and CPU time of a call, beside those of the first system."""
    rounds = read(turns)
    base = next(iter(rounds.values()))
    return [
        (
            name,
            spread(own, "rate", 0),
            f"{ratio(own, base):.2f}",
            spread(own, "p50"),
            *(f"{statistics.median(turn.cpu_ms[part] for turn in own):.2f}" for part in ("gateway", "load")),
        )
        for name, own in rounds.items()
    ]
