"""The pictures below a folder, by what files hold, and an account of what is passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipserve.inputs.file_kinds import CONVERTIBLE, HEAD_BYTES, READ, kind_of
from clipserve.inputs.files import FileRefused, open_regular

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
)
"""Files of these names are taken unseen: one that holds something else is not passed over, it fails."""
SYSTEM_FOLDERS = frozenset(
    (
        *("__macosx", "lost+found", "$recycle.bin", "recycler", "system volume information"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),
    )
)
"""Names, in small letters, of folders where systems and storage devices keep thumbnails and deleted files."""
BROKEN_LINK, UNREADABLE = "broken link", "unreadable"
NOT_OPENED = frozenset((BROKEN_LINK, UNREADABLE))
"""Kinds of files that may be pictures."""
LINKS = "links"
"""Stands for links to folders, which are not followed: they can lead round in circles."""
NAMED = 20
"""Kinds that a sentence names."""


@dataclass
class PassedOver:
    """What was not taken.

    Attributes:
        files: their number by kind, e.g. heic, pdf, hidden.
        folders: their number by name.
        unread: why folders could not be read; `filename` is the folder.
    """

    files: Counter[str] = field(default_factory=Counter)
    folders: Counter[str] = field(default_factory=Counter)
    unread: list[OSError] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.files or self.folders or self.unread)

    def add(self, other: PassedOver) -> None:
        """Adds another account to this one."""
        self.files.update(other.files)
        self.folders.update(other.folders)
        self.unread.extend(other.unread)

    def words(self) -> str:
        """`heic 3, pdf 1; folders: __MACOSX 1`; empty if nothing was passed over."""
        parts = [counted(self.files)] if self.files else []
        parts += [f"folders: {counted(self.folders)}"] if self.folders else []
        if self.unread:
            parts.append(f"folders that cannot be read: {len(self.unread)} ({self.unread[0].strerror})")
        pictures = sorted(self.files.keys() & CONVERTIBLE)
        parts += [f"convert {', '.join(pictures[:NAMED])} to JPEG or PNG"] if pictures else []
        return "; ".join(parts)

    def facts(self) -> dict[str, Any]:
        """The numbers for JSON."""
        return {"passed_over": dict(self.files), "passed_over_folders": dict(self.folders)}


def counted(counts: Mapping[str, int]) -> str:
    """`heic 3, pdf 1`, the most frequent first."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = len(most) - NAMED
    return ", ".join(f"{name} {count:,}" for name, count in most[:NAMED]) + (
        f" and {more} more" if more > 0 else ""
    )


def find_images(folder: Path, passed_over: PassedOver | None = None) -> Iterator[Path]:
    """Files below `folder` that hold pictures, in the order of their names.

    Not taken are hidden files and folders, SYSTEM_FOLDERS, links to folders, files that hold no picture, and
    pictures of a kind that the server does not decode. `passed_over` counts them.
    """
    account = PassedOver() if passed_over is None else passed_over
    for place, folders, files in os.walk(folder, onerror=account.unread.append):
        folders[:] = [name for name in sorted(folders) if is_taken(place, name, account.folders)]
        for name in sorted(files):
            path = Path(place, name)
            if kind := "hidden" if name.startswith(".") else other_kind(path):
                account.files[kind] += 1
            else:
                yield path


def is_taken(place: str, name: str, passed_over: Counter[str]) -> bool:
    """Whether a folder is looked through; counts it otherwise."""
    if os.path.islink(os.path.join(place, name)):
        passed_over[LINKS] += 1
    elif is_system_folder(name):
        passed_over[name] += 1
    else:
        return True
    return False


def is_system_folder(name: str) -> bool:
    """Whether people keep no pictures in a folder of this name."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def other_kind(path: Path) -> str:
    """The kind of a file that is not taken, also for what cannot be opened; empty for a picture."""
    if path.suffix.lower() in SUFFIXES:
        return ""
    try:
        with open_regular(path) as file:
            kind = kind_of(file.read(HEAD_BYTES), path.suffix.removeprefix("."))
            return "" if kind in READ else kind
    except FileRefused:
        return "not a regular file"
    except FileNotFoundError:
        return BROKEN_LINK
    except OSError:
        return UNREADABLE
