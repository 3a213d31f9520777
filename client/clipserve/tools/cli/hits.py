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

PERCENTILE = "beats: share of unrelated pairs in this collection that match less well"
WEAK = "nothing here matches well: unrelated pairs are often as near as the best hit"
FEWEST_POINTS = 20
"""With fewer points the server does not compare scores with unrelated pairs."""


def too_few_points(collection: str, count: int) -> str:
    """Why hits have no `beats`; empty if the collection has enough points."""
    if count >= FEWEST_POINTS:
        return ""
    return (
        f"{collection} has {count} point{'s' * (count != 1)}; from {FEWEST_POINTS} on, searches also show "
        "in `beats` whether a score is high or low for this collection"
    )


def path_of(hit: Hit | StoredPoint, root: Path | None = None) -> Path | None:
    """Where the picture lies, if its payload says so."""
    path, base = hit.payload.get("path"), root or hit.payload.get("root")
    if not isinstance(path, str) or not isinstance(base, str | Path):
        return None
    return Path(base) / path


def picture_of(hit: Hit | StoredPoint, root: Path | None = None) -> Below | NotShown:
    """The picture for a sheet: below --root, or below a folder that this user indexed on this machine.

    What the payload names is not opened for its own sake: others may have written it.
    """
    path, told = hit.payload.get("path"), hit.payload.get("root")
    if not isinstance(path, str):
        return NotShown("its point does not say where it lies")
    trusted = root or known_root(told)
    if trusted is None:
        return NotShown("its folder was not indexed on this machine; say --root FOLDER")
    return Below(trusted, path)


def name_of(hit: Hit | StoredPoint) -> str:
    """What people call the picture."""
    path = hit.payload.get("path")
    return path if isinstance(path, str) else hit.id


def percentile(value: float | None) -> str:
    """A percentile, or a dash for none; never rounded up."""
    return "–" if value is None else f"{math.floor(value * 100 + 1e-6) / 100:g} %"


def show(result: SearchResult, root: Path | None) -> None:
    """A table."""
    if not result.hits:
        say("nothing found")
        return
    judged = any(hit.percentile is not None for hit in result)
    made = table(
        ("", "right"), ("score", "right"), *([("beats", "right")] if judged else []), "picture", "in"
    )
    for rank, hit in enumerate(result, 1):
        base = root or hit.payload.get("root", "")
        name = Text(name_of(hit))
        if hit.duplicates:
            name.append(f"  +{len(hit.duplicates)} near-duplicate{'s' * (len(hit.duplicates) > 1)}", "dim")
        beats = [percentile(hit.percentile)] if judged else []
        made.add_row(f"{rank}", number(hit.score), *beats, name, Text(f"{base}", "dim"))
    console().print(made)
    if judged:
        console().print(Text(PERCENTILE, "dim"))
    if result.weak_match:
        say(WEAK)


def document(result: SearchResult, root: Path | None) -> dict[str, Any]:
    """The hits for machines."""
    return {
        "model": result.model.name,
        "fingerprint": result.model.fingerprint,
        "truncated": result.truncated,
        "incomplete": result.incomplete,
        "weak_match": result.weak_match,
        "hits": [{"rank": rank, **facts(hit, root)} for rank, hit in enumerate(result, 1)],
    }


def facts(hit: Hit, root: Path | None) -> dict[str, Any]:
    """A hit for machines, with its near-duplicates."""
    return {
        "id": hit.id,
        "score": hit.score,
        "percentile": hit.percentile,
        "path": str(path_of(hit, root) or "") or None,
        "payload": dict(hit.payload),
        "duplicates": [facts(duplicate, root) for duplicate in hit.duplicates],
    }


def entry(hit: Hit, pictures: Mapping[str, Picture]) -> Entry:
    """A hit on a sheet, with its near-duplicates; their pictures are given by id."""
    duplicates = tuple(entry(duplicate, pictures) for duplicate in hit.duplicates)
    note = "" if hit.percentile is None else f"beats {percentile(hit.percentile)}"
    return Entry(name_of(hit), hit.score, pictures.get(hit.id), note, duplicates)


def not_shown(entries: tuple[Entry, ...]) -> list[str]:
    """Why pictures of a sheet are not shown: a sentence for each reason, the most frequent first."""
    reasons: Counter[str] = Counter()
    for one in every(entries):
        if isinstance(one.path, NotShown):
            reasons[one.path.why] += 1
        elif isinstance(one.path, Below):
            try:
                open_below(one.path).close()
            except FileNotFoundError:
                reasons["they are not where they were indexed; say --root FOLDER"] += 1
            except (OSError, ValueError) as error:
                reasons[getattr(error, "strerror", None) or str(error)] += 1
    return [f"{count} pictures are not shown: {why}" for why, count in reasons.most_common()]


def every(entries: tuple[Entry, ...]) -> Iterator[Entry]:
    """The entries, and those below them that are shown."""
    for one in entries:
        yield one
        yield from one.duplicates[:SMALL_PICTURES]
