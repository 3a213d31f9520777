"""Groups of near-duplicates as a table, a sheet and a JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.text import Text

from clipserve.tools.cli.output import number
from clipserve.tools.cli.search_output import name_of, path_of
from clipserve.tools.cli.terminal import console, say, table
from clipserve.tools.duplicates import Group
from clipserve.tools.indexing.facts import printable
from clipserve.tools.sheets import group_sheet
from clipserve.tools.sheets.entries import Entry
from clipserve.tools.sheets.group_sheet import GroupSheet, Row, write_group_sheet
from clipserve.tools.sheets.thumbnail import ModelView, Picture
from clipserve.types import Collection, Floats, StoredPoint

SHOWN_GROUPS = 20
SHOWN_MEMBERS = 6


@dataclass(frozen=True, eq=False)
class Scanned:
    """The N points that are compared, in the order of their ids."""

    ids: list[str]
    embeddings: Floats
    """float32 [N, D]."""
    sizes: npt.NDArray[np.int64]
    """int64 [N], bytes of the files; 0 if unknown."""

    def order(self, keep: str) -> npt.NDArray[np.intp]:
        """All rows, those to keep first."""
        return np.argsort(-self.sizes, kind="stable") if keep == "best" else np.arange(len(self.ids))


def member(id: str, cosine: float, points: dict[str, StoredPoint], pictures: Mapping[str, Picture]) -> Entry:
    point = points.get(id)
    return Entry(name_of(point) if point else id, cosine, pictures.get(id))


def show(
    scanned: Scanned, groups: Sequence[Group], points: dict[str, StoredPoint], root: Path | None
) -> None:
    extra = sum(len(group.members) - 1 for group in groups)
    rows = table("", ("cosine", "right"), "picture", "in")
    for group in groups[:SHOWN_GROUPS]:
        if rows.row_count:
            rows.add_row()
        for rank, (row, cosine) in enumerate(
            zip(group.members[:SHOWN_MEMBERS], group.cosines[:SHOWN_MEMBERS], strict=True)
        ):
            point = points.get(scanned.ids[row])
            name = name_of(point) if point else scanned.ids[row]
            folder = root or (point.payload.get("root", "") if point else "")
            rows.add_row(
                "" if rank else Text("keep", "green"),
                number(cosine) if rank else "",
                Text(name),
                Text(f"{folder}", "dim"),
            )
        if len(group.members) > SHOWN_MEMBERS:
            rows.add_row("", "", Text(f"… and {len(group.members) - SHOWN_MEMBERS} more", "dim"), "")
    if groups:
        console().print(rows)
    if len(groups) > SHOWN_GROUPS:
        say(f"… and {len(groups) - SHOWN_GROUPS:,} smaller groups (all with --sheet or --json)")
    say(
        f"{len(groups):,} groups of near-duplicates among {len(scanned.ids):,} points; "
        f"{extra:,} of them can be deleted"
    )


def shown_members(path: Path, scanned: Scanned, groups: Sequence[Group]) -> list[str]:
    """Ids of the points whose pictures the sheet shows."""
    shown = groups[: group_sheet.SHOWN_GROUPS[path.suffix]]
    return [scanned.ids[row] for group in shown for row in group.members[: group_sheet.SHOWN_MEMBERS]]


def write_sheet(
    path: Path,
    title: str,
    threshold: float,
    scanned: Scanned,
    groups: Sequence[Group],
    points: dict[str, StoredPoint],
    pictures: Mapping[str, Picture],
    view: ModelView,
) -> None:
    rows = []
    for group in groups:
        entries = [
            member(scanned.ids[row], cosine, points, pictures)
            for row, cosine in zip(group.members, group.cosines, strict=True)
        ]
        rows.append(Row(entries))
    extra = sum(len(group.members) - 1 for group in groups)
    subtitle = (
        f"{len(groups):,} groups, {extra:,} points besides the first of each, which is the one to keep · "
        f"cosines with the first are at least {threshold:g}"
    )
    write_group_sheet(GroupSheet(title, subtitle, rows, view), path)


def document(
    info: Collection,
    threshold: float,
    keep: str,
    scanned: Scanned,
    groups: Sequence[Group],
    points: dict[str, StoredPoint],
    root: Path | None,
    deleted: int,
) -> dict[str, Any]:

    def member(row: int, cosine: float) -> dict[str, Any]:
        id = scanned.ids[row]
        path = path_of(points[id], root) if id in points else None
        return {"id": id, "cosine": cosine, "path": printable(path) if path else None}

    return {
        "collection": info.name,
        "model": info.model.name,
        "fingerprint": info.model.fingerprint,
        "threshold": threshold,
        "keep": keep,
        "points": len(scanned.ids),
        "duplicates": sum(len(group.members) - 1 for group in groups),
        "deleted": deleted,
        "groups": [
            {
                "kept": scanned.ids[group.members[0]],
                "members": [
                    member(row, cosine) for row, cosine in zip(group.members, group.cosines, strict=True)
                ],
            }
            for group in groups
        ],
    }
