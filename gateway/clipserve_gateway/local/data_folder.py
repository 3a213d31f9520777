"""The folder that collections are kept in, checked before Triton starts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from clipserve_gateway.local.triton_log import is_remote

REMEDY = "Name a folder that this user can write to, on a disk with free space: --data or CLIPSERVE_DATA."
WORDS: dict[type[Exception], str] = {
    FileExistsError: "it is a file",
    NotADirectoryError: "a part of the path is a file",
    FileNotFoundError: "no folder can be made there",
}
"""Reasons that the system words worse."""


class DataUnusable(Exception):
    """The data folder cannot be written; the message says the reason and the remedy."""


def check_data(data: str) -> None:
    """Makes the folder of a data setting, and writes and removes a small file in it.

    A setting that names no folder of this machine is not checked. Raises DataUnusable.
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
