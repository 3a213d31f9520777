"""Sets with a folder for each class."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipserve.inputs.files import read_text
from clipserve.inputs.text_encoding import NotText, lines_in
from clipserve.tools.evaluation.dataset import Account, Dataset, DatasetError, Sample
from clipserve.tools.file_kinds import CONVERTIBLE
from clipserve.tools.picture_files import NOT_OPENED, PassedOver, find_images, is_system_folder, other_kind

SPLITS = ("test", "val", "valid", "validation", "train")
OUTSIDE = "outside of the classes' folders"
"""Kind under which pictures beside the folders are counted."""


@dataclass(frozen=True)
class ClassFolder:
    """A folder that may be a class."""

    name: str
    files: Sequence[Path]
    """Its pictures, sorted by name."""
    passed_over: PassedOver

    @property
    def lost(self) -> bool:
        return not self.files and bool(
            self.passed_over.unread or self.passed_over.files.keys() & (CONVERTIBLE | NOT_OPENED)
        )


def load_folder(path: Path, split: str = "", names: Path | None = None) -> Dataset:
    """The pictures below `path`, one class for each folder. Raises DatasetError.

    The name of a class is the folder's, with spaces for underscores, or comes from the file `names`: folder
    and name on each line, separated by a tab or comma. If the folders are splits, `split` selects one; the
    default is the first of SPLITS. A folder with only unreadable pictures is a class without pictures; a
    folder without pictures is not a class.
    """
    path = chosen_split(path, split)
    folders = class_folders(path)
    outside = files_outside(path)
    classes = [folder for folder in folders if folder.files or folder.lost]
    if not any(folder.files for folder in folders):
        skipped = passed_over_in(folders, outside)
        raise DatasetError(
            f"{path} has no folders with pictures in them; expected one for each class"
            + (f" (skipped: {skipped.words()})" if skipped else "")
        )
    given = read_names(names) if names else {}
    missing = [folder.name for folder in classes if given and folder.name not in given]
    if missing:
        raise DatasetError(f"{names} has no name for the folder {missing[0]!r}")
    called = tuple(given.get(folder.name, spoken(folder.name)) for folder in classes)
    labels = {folder.name: label for label, folder in enumerate(classes)}
    return Dataset(
        path.name, called, folder_samples(path, folders, labels), account=account_of(folders, labels, outside)
    )


def chosen_split(path: Path, split: str) -> Path:
    """The folder of the split, or `path` if there are no splits. Raises DatasetError."""
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder")
    if split:
        if not (path / split).is_dir():
            raise DatasetError(f"{path} has no folder {split!r}")
        return path / split
    children = folder_names(path)
    if children and all(name.lower() in SPLITS for name in children):
        return path / min(children, key=lambda name: SPLITS.index(name.lower()))
    return path


def folder_names(path: Path) -> list[str]:
    """Sorted names of the folders in `path`, without system folders."""
    return sorted(
        entry.name for entry in os.scandir(path) if entry.is_dir() and not is_system_folder(entry.name)
    )


def class_folders(path: Path) -> list[ClassFolder]:
    folders = []
    for name in folder_names(path) if path.is_dir() else ():
        passed_over = PassedOver()
        folders.append(ClassFolder(name, sorted(find_images(path / name, passed_over)), passed_over))
    return folders


def files_outside(path: Path) -> PassedOver:
    """The files beside the folders of classes, and the system folders."""
    outside = PassedOver()
    for entry in os.scandir(path):
        if entry.is_dir():
            outside.folders.update([entry.name] if is_system_folder(entry.name) else [])
        else:
            hidden = entry.name.startswith(".")
            outside.files["hidden" if hidden else other_kind(Path(entry.path)) or OUTSIDE] += 1
    return outside


def folder_samples(path: Path, folders: Sequence[ClassFolder], labels: Mapping[str, int]) -> list[Sample]:
    """The pictures of the folders in `labels`; keys are names of folders."""
    return [
        Sample(file.relative_to(path).as_posix(), file, labels[folder.name])
        for folder in folders
        if folder.name in labels
        for file in folder.files
    ]


def account_of(
    folders: Sequence[ClassFolder], labels: Mapping[str, int], outside: PassedOver | None = None
) -> Account:
    return Account(
        passed_over=passed_over_in(folders, outside),
        folders_left_out=tuple(folder.name for folder in folders if folder.name not in labels),
        lost_classes=tuple(folder.name for folder in folders if folder.name in labels and folder.lost),
    )


def passed_over_in(folders: Sequence[ClassFolder], outside: PassedOver | None = None) -> PassedOver:
    total = PassedOver()
    for passed_over in (*(folder.passed_over for folder in folders), *([outside] if outside else [])):
        total.add(passed_over)
    return total


def spoken(folder: str) -> str:
    """The folder's name as a label: spaces for underscores."""
    return re.sub(r"[_\s]+", " ", folder).strip()


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises DatasetError."""
    try:
        return lines_in(read_text(path))
    except (OSError, NotText) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise DatasetError(f"{path} cannot be read: {why}") from error


def read_names(path: Path) -> dict[str, str]:
    """Names of classes by folder. Raises DatasetError."""
    names: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        folder, separator, name = line.partition("\t") if "\t" in line else line.partition(",")
        if not separator or not name.strip():
            raise DatasetError(f"{path}:{number}: expected a folder and a name, separated by a tab or comma")
        names[folder.strip()] = name.strip()
    return names
