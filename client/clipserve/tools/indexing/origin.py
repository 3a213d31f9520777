"""Tells whether a point belongs to this folder, to this folder before it was moved, or to another folder."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias

from clipserve.client import Client
from clipserve.filters.conditions import F
from clipserve.inputs.files import open_regular
from clipserve.tools.indexing.facts import Picture, printable
from clipserve.types import StoredPoint

Origin: TypeAlias = Literal["own", "moved", "other"]

LISTED_NAMES = 3
BLOCK = 1 << 20


@dataclass
class Others:
    """Points of other folders with ids of this folder's pictures."""

    count: int = 0
    names: list[str] = field(default_factory=list)
    """The first LISTED_NAMES of them, as `id of FOLDER`."""


def find_others(
    client: Client,
    collection: str,
    pictures: Sequence[Picture],
    *,
    has_roots: bool,
    batch: int,
    progress: Callable[[int], None],
) -> Others:
    """Looks up the ids of all pictures. `has_roots` tells whether the collection has the field `root`.

    If two counts tell that all points belong to this folder, nothing is looked up.
    """
    others = Others()
    if has_roots and pictures:
        root = printable(pictures[0].root.as_posix())
        if client.count(collection, F("root") == root) == client.count(collection):
            return others
    done = 0
    left = iter(pictures)
    while some := list(islice(left, batch)):
        by_id = {picture.id: picture for picture in some}
        for point in client.get_points(collection, list(by_id)):
            if origin_of(by_id[point.id], point) == "other":
                others.count += 1
                if len(others.names) < LISTED_NAMES:
                    others.names.append(described(point))
        done += len(some)
        progress(done)
    return others


def origin_of(picture: Picture, point: StoredPoint) -> Origin:
    root = point.payload.get("root")
    if root is None:
        same_place = point.source_uri == picture.uri
        has_path = bool(picture.uri) or point.payload.get("path") == printable(picture.name)
        return "own" if same_place and has_path else "other"
    if root == printable(picture.root.as_posix()):
        return "own"
    return "moved" if was_moved(picture, point) else "other"


def was_moved(picture: Picture, point: StoredPoint) -> bool:
    """Whether the picture has the point's content, and the point's own file is gone."""
    root, path = str(point.payload.get("root", "")), str(point.payload.get("path", ""))
    try:
        if (Path(root) / path).exists():
            return False
        facts = picture.path.stat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != point.payload.get("bytes"):
            return False
        return content_hash(picture.path) == point.payload.get("content_hash")
    except (OSError, ValueError):
        return False


def content_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def described(point: StoredPoint) -> str:
    root = point.payload.get("root")
    return point.id if root is None else f"{point.id} of {root}"
