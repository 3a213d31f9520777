"""Hits as tables, as JSON and on contact sheets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from clipserve.inputs.files import Below, open_below
from clipserve.tools.cli.output import number
from clipserve.tools.cli.terminal import console, say, table
from clipserve.tools.indexing.roots import known_root
from clipserve.tools.sheets.entries import SMALL_PICTURES, Entry
from clipserve.tools.sheets.thumbnail import NotShown, Picture
from clipserve.types import Hit, SearchResult, StoredPoint

PERCENTILE = "percentile: share of random pairs in this collection with a lower score"
WEAK = "nothing here matches well: many random pairs score as high as the best hit"
MIN_POINTS = 20
"""With fewer points the server does not compare scores with random pairs."""


def too_few_points(collection: str, count: int) -> str:
    """Why hits have no percentile; empty if the collection has enough points."""
    if count >= MIN_POINTS:
        return ""
    return (
        f"{collection} has only {count} point{'s' * (count != 1)}; with {MIN_POINTS} or more, searches "
        "also tell whether a score is high for this collection (its percentile)"
    )


def path_of(hit: Hit | StoredPoint, root: Path | None = None) -> Path | None:
    path, base = hit.payload.get("path"), root or hit.payload.get("root")
    if not isinstance(path, str) or not isinstance(base, str | Path):
        return None
    return Path(base) / path


def picture_of(hit: Hit | StoredPoint, root: Path | None = None) -> Below | NotShown:
    """The picture for a sheet: a file below --root, or below a folder that this user indexed on this machine.

    Files elsewhere are not opened, whatever the payload names: other users may have written it.
    """
    path, root_in_payload = hit.payload.get("path"), hit.payload.get("root")
    if not isinstance(path, str):
        return NotShown("its point has no path")
    trusted = root or known_root(root_in_payload)
    if trusted is None:
        return NotShown("its folder was not indexed on this machine; give --root FOLDER")
    return Below(trusted, path)


def name_of(hit: Hit | StoredPoint) -> str:
    """The picture's path below the indexed folder, else the id."""
    path = hit.payload.get("path")
    return path if isinstance(path, str) else hit.id


def percentile(value: float | None) -> str:
    """A percentile, rounded down, or a dash for none."""
    return "–" if value is None else f"{math.floor(value * 100 + 1e-6) / 100:g} %"


def show(result: SearchResult, root: Path | None) -> None:
    if not result.hits:
        say("nothing found")
        return
    judged = any(hit.percentile is not None for hit in result)
    rows = table(
        ("", "right"), ("score", "right"), *([("percentile", "right")] if judged else []), "picture", "in"
    )
    for rank, hit in enumerate(result, 1):
        base = root or hit.payload.get("root", "")
        name = Text(name_of(hit))
        if hit.duplicates:
            name.append(f"  +{len(hit.duplicates)} near-duplicate{'s' * (len(hit.duplicates) > 1)}", "dim")
        percentiles = [percentile(hit.percentile)] if judged else []
        rows.add_row(f"{rank}", number(hit.score), *percentiles, name, Text(f"{base}", "dim"))
    console().print(rows)
    if judged:
        console().print(Text(PERCENTILE, "dim"))
    if result.weak_match:
        say(WEAK)


def document(result: SearchResult, root: Path | None) -> dict[str, Any]:
    return {
        "model": result.model.name,
        "fingerprint": result.model.fingerprint,
        "truncated": result.truncated,
        "incomplete": result.incomplete,
        "weak_match": result.weak_match,
        "hits": [{"rank": rank, **facts(hit, root)} for rank, hit in enumerate(result, 1)],
    }


def facts(hit: Hit, root: Path | None) -> dict[str, Any]:
    return {
        "id": hit.id,
        "score": hit.score,
        "percentile": hit.percentile,
        "path": str(path_of(hit, root) or "") or None,
        "payload": dict(hit.payload),
        "duplicates": [facts(duplicate, root) for duplicate in hit.duplicates],
    }


def entry(hit: Hit, pictures: Mapping[str, Picture]) -> Entry:
    """A hit and its near-duplicates as an entry of a sheet; `pictures` has the pictures by id."""
    duplicates = tuple(entry(duplicate, pictures) for duplicate in hit.duplicates)
    note = "" if hit.percentile is None else f"percentile {percentile(hit.percentile)}"
    return Entry(name_of(hit), hit.score, pictures.get(hit.id), note, duplicates)


def not_shown(entries: tuple[Entry, ...]) -> list[str]:
    """A sentence for each reason why pictures are not shown, the most frequent first."""
    reasons: Counter[str] = Counter()
    for one in shown_entries(entries):
        if isinstance(one.path, NotShown):
            reasons[one.path.why] += 1
        elif isinstance(one.path, Below):
            try:
                open_below(one.path).close()
            except FileNotFoundError:
                reasons[
                    "the file is gone from the indexed folder; if the folder moved, give --root FOLDER"
                ] += 1
            except (OSError, ValueError) as error:
                reasons[getattr(error, "strerror", None) or str(error)] += 1
    return [
        f"{count} picture{'s are' if count > 1 else ' is'} not shown: {why}"
        for why, count in reasons.most_common()
    ]


def shown_entries(entries: tuple[Entry, ...]) -> Iterator[Entry]:
    """The entries and the near-duplicates that the sheet shows."""
    for one in entries:
        yield one
        yield from one.duplicates[:SMALL_PICTURES]
