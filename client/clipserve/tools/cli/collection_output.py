"""A collection as text and as a JSON document."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.text import Text

from clipserve.tools.cli import migration_output
from clipserve.tools.cli.output import number
from clipserve.tools.cli.terminal import console, say, table
from clipserve.types import Collection, IndexOptions

STATES = {
    "none": "none: searches compare every point",
    "building": "building",
    "ready": "ready",
}


def document(collection: Collection) -> dict[str, Any]:
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
        "image_rules": dataclasses.asdict(collection.image_rules),
        "index_options": dataclasses.asdict(collection.index_options),
        "index_status": dataclasses.asdict(status) if status else None,
        "migration": migration_output.document(collection)["migration"],
        "score_statistics": [dataclasses.asdict(statistics) for statistics in collection.score_statistics],
    }


def show(collection: Collection) -> None:
    rows_ = table("", "")
    rows_.show_header = False
    for name, value in rows(collection):
        rows_.add_row(Text(name, "dim"), Text(value))
    console().print(rows_)
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
        migration_output.show(collection)


def rows(collection: Collection) -> list[tuple[str, str]]:
    model = collection.model
    return [
        ("collection", collection.name),
        ("aliases", ", ".join(collection.aliases) or "–"),
        ("points", f"{collection.count:,}"),
        ("model", f"{model.name}, {model.embed_dim} dimensions, {model.fingerprint[:12]}…"),
        ("metric", collection.metric),
        ("images", str(collection.image_rules)),
        ("sources", "kept" if collection.keep_sources else "not kept"),
        ("index", index(collection)),
        ("created", f"{collection.create_time:%Y-%m-%d %H:%M} UTC"),
    ]


def index(collection: Collection) -> str:
    """The state of the index and its options."""
    status, options = collection.index_status, collection.index_options
    words = STATES.get(status.state, status.state) if status else "–"
    if status and status.state != "none":
        words += f", {status.indexed:,} of {collection.count:,} points"
    if options.exact:
        return f"{words} (option exact)"
    chosen = [
        f"{field.name} {getattr(options, field.name)}"
        for field in dataclasses.fields(IndexOptions)
        if getattr(options, field.name)
    ]
    return words + (f"; {', '.join(chosen)}" if chosen else "")


def show_statistics(collection: Collection) -> None:
    right = ("mean", "stddev", "50 %", "95 %", "99 %", "99.9 %", "pairs")
    rows_ = table("queries", *((name, "right") for name in right))
    for statistics in collection.score_statistics:
        figures = [getattr(statistics, name) for name in ("mean", "stddev", "p50", "p95", "p99", "p999")]
        rows_.add_row(statistics.query, *map(number, figures), f"{statistics.pairs:,}")
    say("scores of random pairs: mean, standard deviation and percentiles")
    console().print(rows_)
