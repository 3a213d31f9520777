"""The pictures of a sheet: files on this machine, else those that the server stores."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from clipserve.client import Client
from clipserve.errors import ClipserveError
from clipserve.inputs.files import Below, open_below
from clipserve.tools.cli.search_output import picture_of
from clipserve.tools.sheets.contact_sheet_html import SIDE
from clipserve.tools.sheets.entries import SMALL_PICTURES
from clipserve.tools.sheets.thumbnail import ModelView, NotShown, Picture, thumbnail
from clipserve.types import Hit, StoredPoint

FETCH_BATCH = 16
"""Stored pictures to fetch at a time; each may have megabytes until it is scaled down."""


def shown_points(hits: Iterable[Hit]) -> Iterator[Hit]:
    for hit in hits:
        yield hit
        yield from hit.duplicates[:SMALL_PICTURES]


def pictures_of(
    client: Client, collection: str, points: Iterable[Hit | StoredPoint], root: Path | None, view: ModelView
) -> dict[str, Picture]:
    """For each point, by id: its file, else the stored picture, else why there is none."""
    pictures: dict[str, Picture] = {point.id: picture_of(point, root) for point in points}
    missing = [id for id, picture in pictures.items() if not is_readable(picture)]
    return pictures | dict(kept_pictures(client, collection, missing, view)) if missing else pictures


def is_readable(picture: Picture) -> bool:
    if not isinstance(picture, Below):
        return False
    try:
        open_below(picture).close()
    except (OSError, ValueError):
        return False
    return True


def kept_pictures(
    client: Client, collection: str, ids: Sequence[str], view: ModelView
) -> Iterator[tuple[str, Picture]]:
    """The stored pictures of these points, by id; none if the collection does not keep sources."""
    left = set(ids)
    try:
        if not client.get_collection(collection).keep_sources:
            return
        for first in range(0, len(ids), FETCH_BATCH):
            for point in client.get_points(collection, ids[first : first + FETCH_BATCH], with_sources=True):
                if point.image is not None:
                    yield point.id, scaled_png(point.image, view)
                elif point.text is not None:
                    yield point.id, NotShown("its point was made of a text")
                left.discard(point.id)
    except ClipserveError as error:
        for id in left:
            yield id, NotShown(f"the server did not send it: {error}")


def scaled_png(content: bytes, view: ModelView) -> Picture:
    made = thumbnail(content, SIDE, SIDE, view)
    if isinstance(made, NotShown):
        return made
    file = io.BytesIO()
    made.save(file, "PNG")
    return file.getvalue()
