"""`clipserve dedupe`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click
import numpy as np

from clipserve.client import Client
from clipserve.filters.conditions import Filter
from clipserve.tools.cli.common import read_filter
from clipserve.tools.cli.dedupe_output import (
    SHOWN_GROUPS,
    Scanned,
    document,
    show,
    shown_members,
    write_sheet,
)
from clipserve.tools.cli.errors import Failure
from clipserve.tools.cli.options import Server, filter_option, root_option, server_options
from clipserve.tools.cli.output import print_json, progress
from clipserve.tools.cli.paths import OutputFile
from clipserve.tools.cli.sheet_pictures import pictures_of
from clipserve.tools.cli.terminal import confirm, say
from clipserve.tools.duplicates import Group, find_groups
from clipserve.tools.sheets.entries import SUFFIXES
from clipserve.tools.sheets.thumbnail import view_of
from clipserve.types import Collection, Floats, StoredPoint

MOST_POINTS = 500_000
"""Comparing them takes about ten minutes on two cores, and their embeddings take about 1 GB."""


@click.command()
@click.option(
    "--collection", "-c", required=True, metavar="NAME", help="Collection to search for near-duplicates."
)
@click.option(
    "--threshold",
    "-t",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Two pictures are near-duplicates from this cosine on.",
)
@filter_option
@click.option(
    "--keep",
    type=click.Choice(["best", "first"]),
    default="best",
    show_default=True,
    help="Picture of each group to keep: the largest file (best), or the first id.",
)
@click.option(
    "--sheet",
    type=OutputFile(*SUFFIXES),
    help="Write a sheet with a row for each group to a .png or .html file.",
)
@root_option
@click.option("--delete", is_flag=True, help="Delete all points of each group except the one to keep.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before deleting points.")
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
    """Find all near-duplicates in a collection.

    The search is exact. Each group has one picture to keep, and every other picture of the group is within
    the threshold of that picture. So a long series of pictures that change little by little does not become
    one group. --delete deletes points, never files.

    \b
    Examples:
      clipserve dedupe -c holiday
      clipserve dedupe -c holiday --threshold 0.98 --sheet duplicates.html
      clipserve dedupe -c holiday --filter 'folder == "sea"' --keep first --delete
    """
    with server.client(job=True) as client:
        info = client.get_collection(collection)
        scanned = scan(client, info, read_filter(filter_text, info.schema), show=not server.as_json)
        with progress("Comparing", len(scanned.ids), show=not server.as_json) as advance:
            groups = find_groups(scanned.embeddings, threshold, order=scanned.order(keep), progress=advance)
        listed = groups if server.as_json or sheet is not None else groups[:SHOWN_GROUPS]
        points = get_members(client, collection, scanned, listed)
        if sheet is not None:
            title = f"Near-duplicates in {collection}"
            on_sheet = [points[id] for id in shown_members(sheet, scanned, groups) if id in points]
            view = view_of(info, client.info())
            pictures = pictures_of(client, collection, on_sheet, root, view)
            write_sheet(sheet, title, threshold, scanned, groups, points, pictures, view)
        if not server.as_json:
            show(scanned, groups, points, root)
            if sheet is not None:
                say(f"wrote {sheet}")
        extra = [scanned.ids[row] for group in groups for row in group.members[1:]]
        deleted = remove(client, collection, extra, len(groups), sure=yes) if delete and extra else 0
    if server.as_json:
        print_json(document(info, threshold, keep, scanned, groups, points, root, deleted))
    elif delete:
        say(f"deleted {deleted:,} points; the files remain")
    elif extra:
        say("--delete deletes all points of each group except the one to keep")


def scan(client: Client, info: Collection, condition: Filter | None, *, show: bool) -> Scanned:
    """Ids, embeddings and file sizes of the points. Raises Failure for more than MOST_POINTS."""
    total = client.count(info.name, condition)
    if total > MOST_POINTS:
        raise Failure(
            f"{total:,} points are too many to compare, the limit is {MOST_POINTS:,}; select a part of them "
            "with --filter"
        )
    ids: list[str] = []
    sizes: list[int] = []
    rows: Floats = np.empty((total, info.model.embed_dim), np.float32)
    with progress("Reading", total, show=show) as advance:
        for point in client.scroll(info.name, filter=condition, with_embeddings=True):
            if len(ids) == len(rows):
                # Points were written since they were counted.
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
    """The points of the groups, by id, with payloads. Points that were deleted meanwhile are missing."""
    ids = [scanned.ids[row] for group in groups for row in group.members]
    return {point.id: point for point in client.get_points(collection, ids)} if ids else {}


def remove(client: Client, collection: str, extra: Sequence[str], groups: int, *, sure: bool) -> int:
    """Asks for confirmation and deletes the points; returns their number."""
    if not sure:
        confirm(
            f"Delete {len(extra):,} points of {collection} and keep one in each of {groups:,} groups? "
            "This cannot be undone.",
            abort=True,
        )
    return client.delete_points(collection, extra)
