"""A row of the matrix: one thing that is broken under load, and the promises that hold meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.fault_env import FaultEnv


@dataclass(frozen=True)
class Promise:
    """What is promised, what was seen, and whether that keeps it."""

    what: str
    seen: str
    kept: bool


Break = Callable[["FaultEnv"], Iterator[Promise]]


@dataclass(frozen=True)
class Row:
    """One fault. `run` breaks it and yields what became of each promise."""

    name: str
    how: str
    """How it is broken, in a sentence or two."""
    quick: bool
    """Whether it takes a few seconds only, and so is one of the ordinary tests."""
    run: Break


ROWS: dict[str, Row] = {}


def row(name: str, *, quick: bool = False) -> Callable[[Break], Break]:
    """Enters a function as a row; its docstring says how the fault is made."""

    def enter(run: Break) -> Break:
        assert run.__doc__, "a row says what it does"
        ROWS[name] = Row(name, " ".join(run.__doc__.split()), quick, run)
        return run

    return enter


def promises(row: Row, env: FaultEnv) -> Iterator[Promise]:
    """What a row shows, and what holds for every row."""
    yield from row.run(env)
    found = env.tracebacks()
    yield Promise("no traceback in a gateway's log", "; ".join(sorted(set(found))) or "none", not found)


def at_most(what: str, seen: float, bound: float, unit: str = "s") -> Promise:
    """A figure that must not be larger; NaN, which is no figure, breaks the promise."""
    return Promise(f"{what} ≤ {shown(bound, unit)}", shown(seen, unit), seen <= bound)


def at_least(what: str, seen: float, bound: float, unit: str = "") -> Promise:
    """A figure that must not be smaller."""
    return Promise(f"{what} ≥ {shown(bound, unit)}", shown(seen, unit), seen >= bound)


def only(what: str, codes: Counter[str], *allowed: str, least: int = 1) -> Promise:
    """Calls that must have one of the codes; there must be some, or nothing was shown."""
    seen = ", ".join(f"{count:,} {code}" for code, count in codes.most_common()) or "no calls"
    return Promise(what, seen, codes.total() >= least and set(codes) <= set(allowed))


def shown(value: float, unit: str) -> str:
    """A figure for people."""
    if unit == "s" and abs(value) < 1:
        return f"{value * 1000:,.0f} ms"
    if unit == "s":
        return f"{value:,.1f} s"
    if unit == "%":
        return f"{value * 100:.1f} %"
    return f"{value:,.4g} {unit}".strip()
