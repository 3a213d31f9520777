"""Finds the images below a folder by their content, and counts the files that it skips."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipserve.inputs.files import FileRefused, open_regular
from clipserve.tools.file_kinds import CONVERTIBLE, DECODABLE, HEAD_BYTES, kind_of

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
)
"""Files with these suffixes are not checked, so that reading a wrong file later gives an error."""
SYSTEM_FOLDERS = frozenset(
    (
        *("__macosx", "lost+found", "$recycle.bin", "recycler", "system volume information"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"),
    )
)
"""Folders, in lower case, in which systems and storage devices keep thumbnails and deleted files."""
BROKEN_LINK, UNREADABLE = "broken link", "unreadable"
NOT_OPENED = frozenset((BROKEN_LINK, UNREADABLE))
"""Kinds of files that could be images."""
LINKS = "links"
"""Kind of links to folders. They are not followed, because they can form cycles."""
MAX_NAMED = 20
"""Maximum number of kinds in a message."""


@dataclass
class PassedOver:
    """The skipped files and folders.

    Attributes:
        files: their number by kind, e.g. heic, pdf, hidden.
        folders: their number by name.
        unread: errors of folders that could not be read; `filename` is the folder.
    """

    files: Counter[str] = field(default_factory=Counter)
    folders: Counter[str] = field(default_factory=Counter)
    unread: list[OSError] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.files or self.folders or self.unread)

    def add(self, other: PassedOver) -> None:
        """Adds the numbers of another instance."""
        self.files.update(other.files)
        self.folders.update(other.folders)
        self.unread.extend(other.unread)

    def words(self) -> str:
        """`heic 3, pdf 1; folders: __MACOSX 1`; empty if nothing was skipped."""
        parts = [format_counts(self.files)] if self.files else []
        parts += [f"folders: {format_counts(self.folders)}"] if self.folders else []
        if self.unread:
            parts.append(f"unreadable folders: {len(self.unread)} ({self.unread[0].strerror})")
        convertible = sorted(self.files.keys() & CONVERTIBLE)
        parts += [f"convert {', '.join(convertible[:MAX_NAMED])} to JPEG or PNG"] if convertible else []
        return "; ".join(parts)

    def facts(self) -> dict[str, Any]:
        """The numbers for JSON."""
        return {"passed_over": dict(self.files), "passed_over_folders": dict(self.folders)}


def format_counts(counts: Mapping[str, int]) -> str:
    """`heic 3, pdf 1`, most frequent first."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = len(most) - MAX_NAMED
    return ", ".join(f"{name} {count:,}" for name, count in most[:MAX_NAMED]) + (
        f" and {more} more" if more > 0 else ""
    )


def find_images(folder: Path, passed_over: PassedOver | None = None) -> Iterator[Path]:
    """The image files below `folder`, sorted by name.

    Skips hidden files and folders, SYSTEM_FOLDERS, links to folders, files that are not images, and images
    that the server does not decode. `passed_over` counts them.
    """
    skipped = PassedOver() if passed_over is None else passed_over
    for parent, folders, files in os.walk(folder, onerror=skipped.unread.append):
        folders[:] = [name for name in sorted(folders) if is_searched(parent, name, skipped.folders)]
        for name in sorted(files):
            path = Path(parent, name)
            if kind := "hidden" if name.startswith(".") else other_kind(path):
                skipped.files[kind] += 1
            else:
                yield path


def is_searched(parent: str, name: str, passed_over: Counter[str]) -> bool:
    """Whether to search a folder; counts it otherwise."""
    if os.path.islink(os.path.join(parent, name)):
        passed_over[LINKS] += 1
    elif is_system_folder(name):
        passed_over[name] += 1
    else:
        return True
    return False


def is_system_folder(name: str) -> bool:
    """Whether a folder with this name usually has no images of people's own."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def other_kind(path: Path) -> str:
    """The kind of a file to skip, or why it cannot be opened; empty for an image."""
    if path.suffix.lower() in SUFFIXES:
        return ""
    try:
        with open_regular(path) as file:
            kind = kind_of(file.read(HEAD_BYTES), path.suffix.removeprefix("."))
            return "" if kind in DECODABLE else kind
    except FileRefused:
        return "not a regular file"
    except FileNotFoundError:
        return BROKEN_LINK
    except OSError:
        return UNREADABLE
