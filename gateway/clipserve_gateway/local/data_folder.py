"""Checks the folder of the collections before Triton starts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from clipserve_gateway.local.triton_log import is_remote

REMEDY = "Set --data or CLIPSERVE_DATA to a folder that this user can write to, on a disk with free space."
WORDS: dict[type[Exception], str] = {
    FileExistsError: "it is a file",
    NotADirectoryError: "a part of the path is a file",
    FileNotFoundError: "a folder cannot be created there",
}
"""Reasons that are clearer than those of the system."""


class DataUnusable(Exception):
    """The data folder cannot be written; the message has the reason and the remedy."""


def check_data(data: str) -> None:
    """Creates the data folder, and writes and removes a small file in it. Raises DataUnusable.

    Checks nothing if the setting names an object store or a database.
    """
    if is_remote(data):
        return
    folder = Path(data).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clipserve-", suffix=".check") as file:
            file.write(b"clipserve")
            file.flush()
            os.fsync(file.fileno())
    except (OSError, ValueError) as error:
        words = WORDS.get(type(error)) or getattr(error, "strerror", None) or str(error)
        raise DataUnusable(f"The data folder {folder} cannot be used: {words}.\n· {REMEDY}") from error
