"""One collection in words, and as a document."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.text import Text

from clipserve.tools.cli import migration_words
from clipserve.tools.cli.output import number
from clipserve.tools.cli.terminal import console, say, table
from clipserve.types import Collection, IndexOptions

STATES = {
    "none": "none: searches compare with every point",
    "building": "being built",
    "ready": "ready",
}


def document(collection: Collection) -> dict[str, Any]:
    """One collection for machines."""
    status = collection.index_status
    return {
        "name": collection.name,
        "count": collection.count,
        "model": collection.model.name,
        "fingerprint": collection.model.fingerprint,
        "dim": collection.model.embed_dim,
        "metric": collection.metric,
        "schema": dict(collection.schema),
        "create_time": collection.create_time.isoformat(),
        "aliases": list(collection.aliases),
        "keep_sources": collection.keep_sources,
        "index_options": dataclasses.asdict(collection.index_options),
        "index_status": dataclasses.asdict(status) if status else None,
        "migration": migration_words.document(collection)["migration"],
        "score_statistics": [dataclasses.asdict(found) for found in collection.score_statistics],
    }


def show(collection: Collection) -> None:
    """All that is known of a collection."""
    made = table("", "")
    made.show_header = False
    for name, value in rows(collection):
        made.add_row(Text(name, "dim"), Text(value))
    console().print(made)
    if collection.schema:
        fields = table("field", "type")
        for name, kind in collection.schema.items():
            fields.add_row(Text(name), kind)
        say()
        console().print(fields)
    if collection.score_statistics:
        say()
        show_statistics(collection)
    if collection.migration is not None:
        say()
        migration_words.show(collection)


def rows(collection: Collection) -> list[tuple[str, str]]:
    """Names and values, in the order in which people ask for them."""
    model = collection.model
    return [
        ("collection", collection.name),
        ("aliases", ", ".join(collection.aliases) or "–"),
        ("points", f"{collection.count:,}"),
        ("model", f"{model.name}, {model.embed_dim} dimensions, {model.fingerprint[:12]}…"),
        ("metric", collection.metric),
        ("sources", "kept" if collection.keep_sources else "not kept"),
        ("index", index(collection)),
        ("made", f"{collection.create_time:%Y-%m-%d %H:%M} UTC"),
    ]


def index(collection: Collection) -> str:
    """The state of the index, and the options that were chosen for it."""
    status, options = collection.index_status, collection.index_options
    words = STATES.get(status.state, status.state) if status else "–"
    if status and status.state != "none":
        words += f", {status.indexed:,} of {collection.count:,} points"
    if options.exact:
        return f"{words} (as was wanted)"
    chosen = [
        f"{field.name} {getattr(options, field.name)}"
        for field in dataclasses.fields(IndexOptions)
        if getattr(options, field.name)
    ]
    return words + (f"; {', '.join(chosen)}" if chosen else "")


def show_statistics(collection: Collection) -> None:
    """How scores of unrelated pairs are spread."""
    right = ("mean", "stddev", "50 %", "95 %", "99 %", "99.9 %", "pairs")
    made = table("queries", *((name, "right") for name in right))
    for found in collection.score_statistics:
        figures = (found.mean, found.stddev, found.p50, found.p95, found.p99, found.p999)
        made.add_row(found.query, *(number(figure) for figure in figures), f"{found.pairs:,}")
    say("scores of unrelated pairs, and below which score so many of them lie:")
    console().print(made)
