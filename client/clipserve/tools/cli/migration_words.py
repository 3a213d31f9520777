"""How a migration stands, in words and as a document."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from clipserve.tools.cli.common import shown
from clipserve.tools.cli.terminal import error_console, say
from clipserve.types import Collection, Migration, NeighborOverlap

LITTLE_OVERLAP = 0.05
"""Of the neighbors; models that see the same things have more in common."""


def show(found: Collection) -> None:
    """How things stand, and what can be done next."""
    migration = found.migration
    command = f"clipserve migrate {found.name}"
    if migration is None:
        say(f"{found.name} answers with model {found.model.name}; no migration is under way")
        return
    old, new = migration.source.name, migration.target.name
    if migration.state == "switched":
        say(f"{found.name} answers with model {new} now")
        say(f"  {command} --roll-back    {old} answers again")
        say(f"  {command} --end          {old}'s embeddings are dropped, for good")
        return
    say(
        f"{found.name}, from model {old} to {new}: {migration.state}, {migration.done:,} of "
        f"{migration.total:,} points, since {migration.start_time:%Y-%m-%d %H:%M} UTC; {old} answers"
    )
    if migration.state == "waiting":
        say(f"it is tried again in time; what went wrong: {migration.error}")
    if migration.state != "ready":
        say(f"  {command} --to-model {new}    watches it")
        say(f"  {command} --end    gives it up")
        return
    show_ready(migration)
    drop = f" --accept-dropped {migration.failed}" if migration.failed else ""
    words = f"{new} answers" + (f", {loss(found, migration)}" if drop else "")
    say(f"  {command} --switch{drop}    {words}")
    say(f"  {command} --end    gives it up")


def loss(found: Collection, migration: Migration) -> str:
    """What a switch would drop."""
    return f"{migration.failed:,} of {found.count:,} points are dropped"


def nothing_embedded(found: Collection) -> bool:
    """Whether every point failed: such a migration waits, and is never ready."""
    migration = found.migration
    if migration is None or migration.state != "waiting":
        return False
    return 0 < migration.total <= migration.done <= migration.failed


def show_ready(migration: Migration) -> None:
    """What became of the points and their neighbors."""
    if migration.overlap is not None:
        say(overlap_in_words(migration.overlap))
    if not migration.failed:
        return
    say(f"{migration.failed:,} points have no embedding by {migration.target.name}:", err=True)
    for failure in migration.failures:
        text = Text.assemble(("✗ ", "red"), shown(failure.id), (f"  {failure.message}", "dim"))
        error_console().print(text)
    if migration.failed > len(migration.failures):
        say(f"… and {migration.failed - len(migration.failures):,} more", err=True)


def overlap_in_words(overlap: NeighborOverlap) -> str:
    """What the two models have in common."""
    words = (
        f"of a point's {overlap.k} nearest neighbors, both models find {overlap.mean * overlap.k:.1f} on "
        f"average ({100 * overlap.mean:.0f} %; for one point in ten, {100 * overlap.p10:.0f} % or fewer; "
        f"{overlap.queries:,} points were tried). This is no grade: a better model finds other neighbors"
    )
    if overlap.mean < LITTLE_OVERLAP:
        words += (
            ". But so few in common mean that something is wrong: look at some searches before you switch"
        )
    return words


def document(found: Collection) -> dict[str, Any]:
    """How things stand, for machines."""
    migration = found.migration
    return {
        "collection": found.name,
        "model": found.model.name,
        "fingerprint": found.model.fingerprint,
        "migration": migration
        and {
            "state": migration.state,
            "from": {"model": migration.source.name, "fingerprint": migration.source.fingerprint},
            "to": {"model": migration.target.name, "fingerprint": migration.target.fingerprint},
            "total": migration.total,
            "done": migration.done,
            "failed": migration.failed,
            "failures": [{"id": it.id, "message": it.message} for it in migration.failures],
            "overlap": migration.overlap
            and {
                "k": migration.overlap.k,
                "queries": migration.overlap.queries,
                "mean": migration.overlap.mean,
                "p10": migration.overlap.p10,
            },
            "error": migration.error,
            "start_time": migration.start_time.isoformat(),
        },
    }
