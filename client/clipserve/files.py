"""Finding pictures in folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
)


def is_image(path: Path) -> bool:
    """Whether a file's name says that it is a picture."""
    return path.suffix.lower() in SUFFIXES


def find_images(folder: Path, *, on_error: Callable[[OSError], object] | None = None) -> Iterator[Path]:
    """Files below `folder` whose names say that they are pictures, in the order of their names.

    Hidden files and folders are passed over, links to folders are not followed. Folders that cannot be read
    are passed over too; `on_error` hears of each, its `filename` is the folder.
    """
    for place, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if not name.startswith(".") and is_image(path):
                yield path
