"""Sets with a folder for each class."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from clipserve.evaluation.dataset import Dataset, DatasetError, Sample
from clipserve.files import find_images, is_image, read_text
from clipserve.text_encoding import NotText, lines_in

SPLITS = ("test", "val", "valid", "validation", "train")


def load_folder(path: Path, split: str = "", names: Path | None = None) -> Dataset:
    """The pictures below `path`, one class for each folder.

    Classes are named after their folders, with spaces for underscores, or as `names` says: lines of folder
    and name, with a tab or comma between. Where the folders are splits, `split` says which is meant; the
    first of test and val by default.
    """
    path = chosen_split(path, split)
    folders = class_folders(path)
    if not folders:
        raise DatasetError(f"{path} has no folders with pictures in them; expected one for each class")
    given = read_names(names) if names else {}
    missing = [folder for folder in folders if given and folder not in given]
    if missing:
        raise DatasetError(f"{names} has no name for the folder {missing[0]!r}")
    classes = tuple(given.get(folder, spoken(folder)) for folder in folders)
    return Dataset(path.name, classes, folder_samples(path, folders))


def chosen_split(path: Path, split: str) -> Path:
    """The folder of the split, where there are splits."""
    if not path.is_dir():
        raise DatasetError(f"{path} is no folder")
    if split:
        if not (path / split).is_dir():
            raise DatasetError(f"{path} has no folder {split!r}")
        return path / split
    children = [entry.name for entry in os.scandir(path) if entry.is_dir()]
    if children and all(name.lower() in SPLITS for name in children):
        return path / min(children, key=lambda name: SPLITS.index(name.lower()))
    return path


def class_folders(path: Path) -> list[str]:
    """Names of the folders with pictures in them, sorted."""
    if not path.is_dir():
        return []
    folders = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and entry.name[0] != ".")
    return [name for name in folders if next(find_images(path / name), None) is not None]


def folder_samples(path: Path, folders: Sequence[str]) -> list[Sample]:
    """The pictures of each class folder; a class without a folder has none."""
    return [
        Sample(file.relative_to(path).as_posix(), file, label)
        for label, folder in enumerate(folders)
        if (path / folder).is_dir()
        for file in sorted(find_images(path / folder))
    ]


def spoken(folder: str) -> str:
    """A folder's name as a label."""
    return re.sub(r"[_\s]+", " ", folder).strip()


def read_lines(path: Path) -> list[str]:
    """The lines of a text file; DatasetError."""
    try:
        return lines_in(read_text(path))
    except (OSError, NotText) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise DatasetError(f"{path} cannot be read: {why}") from error


def read_names(path: Path) -> dict[str, str]:
    """Folder → name."""
    found: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        folder, separator, name = line.partition("\t") if "\t" in line else line.partition(",")
        if not separator or not name.strip():
            raise DatasetError(f"{path}:{number}: expected a folder and a name, with a tab or comma between")
        found[folder.strip()] = name.strip()
    return found


__all__ = ["chosen_split", "class_folders", "folder_samples", "is_image", "load_folder", "read_names"]
