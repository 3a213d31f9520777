"""`clipserve dedupe`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import numpy.typing as npt
from rich.text import Text

from clipserve.cli.common import read_filter, shown
from clipserve.cli.errors import Failure
from clipserve.cli.options import OUT, Server, filter_option, root_option, server_options
from clipserve.cli.output import console, number, print_json, progress, table
from clipserve.cli.search import name_of, path_of
from clipserve.client import Client
from clipserve.duplicates import Group, find_groups
from clipserve.filters import Filter
from clipserve.group_sheet import GroupSheet, Row, write_group_sheet
from clipserve.sheet import SUFFIXES, Entry
from clipserve.types import Collection, Floats, StoredPoint

MOST_POINTS = 500_000
"""Their comparing takes some ten minutes on two cores, and their embeddings about a GB."""
SHOWN_GROUPS = 20
SHOWN_MEMBERS = 6


@dataclass(frozen=True, eq=False)
class Scanned:
    """What is compared: N points in the order of their ids."""

    ids: list[str]
    embeddings: Floats
    """float32 [N, D]."""
    sizes: npt.NDArray[np.int64]
    """[N], bytes of the files, 0 where that is not known."""

    def order(self, keep: str) -> npt.NDArray[np.intp]:
        """All rows, the one to keep first."""
        return np.argsort(-self.sizes, kind="stable") if keep == "best" else np.arange(len(self.ids))


@click.command()
@click.option("--collection", "-c", required=True, metavar="NAME", help="The collection to look through.")
@click.option(
    "--threshold",
    "-t",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Cosine from which two pictures are near-duplicates.",
)
@filter_option
@click.option(
    "--keep",
    type=click.Choice(["best", "first"]),
    default="best",
    show_default=True,
    help="Which of a group to keep: the largest file, or the first by id.",
)
@click.option("--sheet", type=OUT, help="Write a sheet with a row for each group: .png or .html.")
@root_option
@click.option("--delete", is_flag=True, help="Delete all points of each group but the kept one.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before deleting.")
@server_options
def dedupe(
    collection: str,
    threshold: float,
    filter_text: str | None,
    keep: Literal["best", "first"],
    sheet: Path | None,
    root: Path | None,
    delete: bool,
    yes: bool,
    server: Server,
) -> None:
    """Find near-duplicates in a collection, exactly: every picture is compared with those that lead a group.

    A group's first is the one to keep, and each of the others is within the threshold of that very one: a
    long series of pictures that change little by little does not become one group. --delete deletes points;
    files are never touched.

    \b
    Examples:
      clipserve dedupe -c holiday
      clipserve dedupe -c holiday --threshold 0.98 --sheet duplicates.html
      clipserve dedupe -c holiday --filter 'folder == "sea"' --keep first --delete
    """
    if sheet is not None and sheet.suffix not in SUFFIXES:
        raise click.BadParameter(f"{sheet.name} must end in {' or '.join(SUFFIXES)}", param_hint="--sheet")
    with server.client(patient=True) as client:
        found = client.get_collection(collection)
        scanned = scan(client, found, read_filter(filter_text, found.schema), show=not server.as_json)
        with progress("Comparing", len(scanned.ids), show=not server.as_json) as advance:
            groups = find_groups(scanned.embeddings, threshold, order=scanned.order(keep), progress=advance)
        listed = groups if server.as_json or sheet is not None else groups[:SHOWN_GROUPS]
        points = get_members(client, collection, scanned, listed)
        if sheet is not None:
            title = f"Near-duplicates in {collection}"
            write_sheet(sheet, title, threshold, scanned, groups, points, root)
        if not server.as_json:
            show(scanned, groups, points, root)
            if sheet is not None:
                click.echo(f"wrote {sheet}")
        extra = [scanned.ids[row] for group in groups for row in group.members[1:]]
        deleted = remove(client, collection, extra, len(groups), sure=yes) if delete and extra else 0
    if server.as_json:
        print_json(document(found, threshold, keep, scanned, groups, points, root, deleted))
    elif delete:
        click.echo(f"deleted {deleted:,} points; no file was touched")
    elif extra:
        click.echo("--delete deletes all points of each group but the kept one")


def scan(client: Client, found: Collection, condition: Filter | None, *, show: bool) -> Scanned:
    """Ids and embeddings of the points; Failure where there are too many."""
    total = client.count(found.name, condition)
    if total > MOST_POINTS:
        raise Failure(
            f"{total:,} points are too many to compare with each other, {MOST_POINTS:,} are the most; "
            "look through them in parts, with --filter"
        )
    ids: list[str] = []
    sizes: list[int] = []
    rows: Floats = np.empty((total, found.model.embed_dim), np.float32)
    with progress("Reading", total, show=show) as advance:
        for point in client.scroll(found.name, filter=condition, with_embeddings=True):
            if len(ids) == len(rows):
                # Written meanwhile.
                rows = np.concatenate([rows, np.empty((1 + len(rows) // 8, rows.shape[1]), np.float32)])
            rows[len(ids)] = point.embedding
            ids.append(point.id)
            size = point.payload.get("bytes")
            sizes.append(size if isinstance(size, int) else 0)
            advance(len(ids))
    return Scanned(ids, rows[: len(ids)], np.array(sizes, np.int64))


def get_members(
    client: Client, collection: str, scanned: Scanned, groups: Sequence[Group]
) -> dict[str, StoredPoint]:
    """The points of groups, by id, with their payloads; less those that are gone by now."""
    ids = [scanned.ids[row] for group in groups for row in group.members]
    return {point.id: point for point in client.get_points(collection, ids)} if ids else {}


def remove(client: Client, collection: str, extra: Sequence[str], groups: int, *, sure: bool) -> int:
    """Deletes points, after asking; returns how many."""
    if not sure:
        click.confirm(
            f"Delete {len(extra):,} points of {collection} for good, and keep one of each of "
            f"{groups:,} groups?",
            abort=True,
            err=True,
        )
    return client.delete_points(collection, extra)


def described(id: str, points: dict[str, StoredPoint], root: Path | None) -> tuple[str, Path | None]:
    """What people call a point, and where its picture lies."""
    point = points.get(id)
    return (name_of(point), path_of(point, root)) if point else (id, None)


def show(
    scanned: Scanned, groups: Sequence[Group], points: dict[str, StoredPoint], root: Path | None
) -> None:
    """A table."""
    extra = sum(len(group.members) - 1 for group in groups)
    made = table("", ("cosine", "right"), "picture", "in")
    for group in groups[:SHOWN_GROUPS]:
        if made.row_count:
            made.add_row()
        for rank, (row, cosine) in enumerate(
            zip(group.members[:SHOWN_MEMBERS], group.cosines[:SHOWN_MEMBERS], strict=True)
        ):
            name, path = described(scanned.ids[row], points, root)
            place = Text(shown(path.parent) if path else "", "dim")
            made.add_row(
                "" if rank else Text("keep", "green"), number(cosine) if rank else "", Text(name), place
            )
        if len(group.members) > SHOWN_MEMBERS:
            made.add_row("", "", Text(f"… and {len(group.members) - SHOWN_MEMBERS} more", "dim"), "")
    if groups:
        console().print(made)
    if len(groups) > SHOWN_GROUPS:
        click.echo(f"… and {len(groups) - SHOWN_GROUPS:,} smaller groups (all with --sheet or --json)")
    click.echo(
        f"{len(groups):,} groups of near-duplicates among {len(scanned.ids):,} points; "
        f"{extra:,} points have one that would be kept"
    )


def write_sheet(
    path: Path,
    title: str,
    threshold: float,
    scanned: Scanned,
    groups: Sequence[Group],
    points: dict[str, StoredPoint],
    root: Path | None,
) -> None:
    """The sheet."""
    rows = []
    for group in groups:
        named = [described(scanned.ids[row], points, root) for row in group.members]
        entries = [
            Entry(name, cosine, place) for (name, place), cosine in zip(named, group.cosines, strict=True)
        ]
        rows.append(Row(entries))
    extra = sum(len(group.members) - 1 for group in groups)
    subtitle = (
        f"{len(groups):,} groups, {extra:,} points beside the first of each, which is the one to keep · "
        f"cosines with it are at least {threshold:g}"
    )
    write_group_sheet(GroupSheet(title, subtitle, rows), path)


def document(
    found: Collection,
    threshold: float,
    keep: str,
    scanned: Scanned,
    groups: Sequence[Group],
    points: dict[str, StoredPoint],
    root: Path | None,
    deleted: int,
) -> dict[str, Any]:
    """The groups for machines."""

    def member(row: int, cosine: float) -> dict[str, Any]:
        id = scanned.ids[row]
        path = described(id, points, root)[1]
        return {"id": id, "cosine": cosine, "path": shown(path) if path else None}

    return {
        "collection": found.name,
        "model": found.model.name,
        "fingerprint": found.model.fingerprint,
        "threshold": threshold,
        "keep": keep,
        "points": len(scanned.ids),
        "duplicates": sum(len(group.members) - 1 for group in groups),
        "deleted": deleted,
        "groups": [
            {
                "kept": scanned.ids[group.members[0]],
                "members": [member(row, it) for row, it in zip(group.members, group.cosines, strict=True)],
            }
            for group in groups
        ],
    }
