"""Tables in Markdown, and figures in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.speed.turns import Turn, median


def spread(turns: list[Turn], what: str, digits: int = 1) -> str:
    """Median, least and most of a figure."""
    values = [getattr(turn, what) for turn in turns]
    return f"{median(turns, what):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
