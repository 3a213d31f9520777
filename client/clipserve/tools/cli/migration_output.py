"""The state of a migration as text and as a JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.text import Text

from clipserve.tools.cli.terminal import error_console, say
from clipserve.tools.indexing.facts import printable
from clipserve.types import Collection, ImageRules, Migration, ModelRef, NeighborOverlap

LITTLE_OVERLAP = 0.05
"""Share of common neighbors below which one of the two models is probably broken."""


def show(collection: Collection) -> None:
    """Prints the state of the migration and the commands that can follow."""
    migration = collection.migration
    command = f"clipserve migrate {collection.name}"
    if migration is None:
        say(f"{collection.name} answers with model {collection.model.name}; it has no migration")
        return
    old, new = names_of(migration)
    target = migration.target.name
    if migration.state == "switched":
        say(f"{collection.name} now answers with model {new}")
        say(f"  {command} --roll-back    makes {old} answer again")
        say(f"  {command} --end          drops the embeddings of {old}; this cannot be undone")
        return
    say(
        f"{collection.name}, migration from model {old} to {new}: {migration.state}, {migration.done:,} of "
        f"{migration.total:,} points, since {migration.start_time:%Y-%m-%d %H:%M} UTC; {old} answers"
    )
    if migration.state == "waiting":
        say(f"the server will retry; the error was: {migration.error}")
    if migration.state != "ready":
        say(f"  {command} --to-model {target}    watches the migration")
        say(f"  {command} --end    cancels the migration")
        return
    show_ready(migration)
    drop = f" --accept-dropped {migration.failed}" if migration.failed else ""
    effect = f"makes {new} answer" + (f"; {loss(collection, migration)}" if drop else "")
    say(f"  {command} --switch{drop}    {effect}")
    say(f"  {command} --end    cancels the migration")


def names_of(migration: Migration) -> tuple[str, str]:
    """The old and the new model, with their rules for images if these differ."""
    old, new = migration.source.name, migration.target.name
    if migration.source_rules == migration.target_rules:
        return old, new
    return f"{old} ({migration.source_rules})", f"{new} ({migration.target_rules})"


def loss(collection: Collection, migration: Migration) -> str:
    return f"{migration.failed:,} of {collection.count:,} points are dropped"


def nothing_embedded(collection: Collection) -> bool:
    """Whether every point failed. The migration then waits and never gets ready."""
    migration = collection.migration
    if migration is None or migration.state != "waiting":
        return False
    return 0 < migration.total <= migration.done <= migration.failed


def show_ready(migration: Migration) -> None:
    if migration.overlap is not None:
        say(overlap_in_words(migration.overlap))
    if not migration.failed:
        return
    say(f"{migration.failed:,} points could not be embedded with {migration.target.name}:", err=True)
    for failure in migration.failures:
        text = Text.assemble(("✗ ", "red"), printable(failure.id), (f"  {failure.message}", "dim"))
        error_console().print(text)
    if migration.failed > len(migration.failures):
        say(f"… and {migration.failed - len(migration.failures):,} more", err=True)


def overlap_in_words(overlap: NeighborOverlap) -> str:
    """A sentence on how many neighbors the two models have in common."""
    words = (
        f"of the {overlap.k} nearest neighbors of a point, both models find {overlap.mean * overlap.k:.1f} "
        f"on average ({100 * overlap.mean:.0f} %; for one point in ten, {100 * overlap.p10:.0f} % or fewer; "
        f"sample of {overlap.queries:,} points). A low overlap is not bad in itself: a better model finds "
        "other neighbors"
    )
    if overlap.mean < LITTLE_OVERLAP:
        words += ". But an overlap this low suggests a broken model: check some searches before you switch"
    return words


def side(model: ModelRef, rules: ImageRules) -> dict[str, Any]:
    return {"model": model.name, "fingerprint": model.fingerprint, "image_rules": asdict(rules)}


def document(collection: Collection) -> dict[str, Any]:
    migration = collection.migration
    return {
        "collection": collection.name,
        "model": collection.model.name,
        "fingerprint": collection.model.fingerprint,
        "migration": migration
        and {
            "state": migration.state,
            "from": side(migration.source, migration.source_rules),
            "to": side(migration.target, migration.target_rules),
            "total": migration.total,
            "done": migration.done,
            "failed": migration.failed,
            "failures": [asdict(failure) for failure in migration.failures],
            "overlap": migration.overlap and asdict(migration.overlap),
            "error": migration.error,
            "start_time": migration.start_time.isoformat(),
        },
    }
