"""Finds points whose pictures are gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from clipserve.client import Client
from clipserve.filters.conditions import F
from clipserve.tools.indexing.facts import Picture, printable


def find_gone(
    client: Client, collection: str, root: Path, pictures: Iterable[Picture], unread: Sequence[Path]
) -> list[str]:
    """Ids of the root's points without a picture, except below folders that could not be read."""
    ids = {picture.id for picture in pictures}
    hidden = tuple(
        printable(folder.relative_to(root).as_posix()) + "/" for folder in unread if folder != root
    )
    gone = []
    for point in client.scroll(collection, filter=F("root") == printable(root.as_posix())):
        path = point.payload.get("path")
        if point.id not in ids and not (isinstance(path, str) and path.startswith(hidden)):
            gone.append(point.id)
    return gone
