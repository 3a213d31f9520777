"""Which row of the zoo stands for an (architecture, weights) pair of open_clip."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo import DATA
from zoo.rows import BY_NAME

QUICK = "-quickgelu"


@dataclass(frozen=True)
class Proof:
    """How the service handles a pair.

    Attributes:
        row: the name of the row with the same classes, tokenizer kind and preprocessing kind; empty if none.
        reason: why there is no row; empty if there is one.
    """

    row: str = ""
    reason: str = ""


def pairs() -> list[dict[str, Any]]:
    """The facts of all pairs of the pinned open_clip; see `zoo.facts`."""
    return json.loads((DATA / "pairs.json").read_text())["pairs"]


def version() -> str:
    """The version of open_clip that the pairs are of."""
    return json.loads((DATA / "pairs.json").read_text())["open_clip"]


def published() -> dict[tuple[str, str], dict[str, str]]:
    """(architecture, tag) → open_clip's published figures, in percent; empty where it has none."""
    with (DATA / "published.csv").open(newline="") as file:
        return {(row["architecture"], row["tag"]): row for row in csv.DictReader(file)}


def proof_of(pair: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> Proof:
    """The row that stands for a pair, or the reason why none does.

    A row of the pair's own architecture comes first, then one of the same image size.
    """
    same = [name for name, row in results.items() if row.get("key") == pair["key"] and row["passed"]]
    if not same:
        return Proof(reason="no row of its kind has passed")
    return Proof(row=min(same, key=lambda name: distance(pair, results[name])))


def sibling(architecture: str) -> str:
    """The name of the same architecture with the other activation."""
    quick = architecture.endswith(QUICK)
    return architecture.removesuffix(QUICK) if quick else architecture + QUICK


def distance(pair: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[bool, bool, bool, float]:
    """How far a row is from a pair of its kind."""
    own = result["architecture"] != pair["architecture"]
    size = abs((pair["million_parameters"] or 0.0) - result["million_parameters"])
    return own, result["shrunk"], result["image_size"] != pair["image_size"], size


def covered(results: Mapping[str, Mapping[str, Any]]) -> Sequence[tuple[dict[str, Any], Proof]]:
    """Every pair with its proof."""
    return [(pair, proof_of(pair, results)) for pair in pairs()]


def architectures(results: Mapping[str, Any]) -> int:
    """How many different architectures the rows are of."""
    return len({BY_NAME[name].architecture for name in results})
