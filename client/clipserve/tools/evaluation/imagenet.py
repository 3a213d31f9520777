"""ImageNet-1k: folders named by WordNet identifiers, or the flat validation set with a list of labels.

A list has one line for each picture, in one of these forms:
- an identifier (`n01751748`), or a class number, for the pictures in the order of their names;
- a file's name and then an identifier or a class number (`ILSVRC2012_val_00000001.JPEG 65`);
- Kaggle's LOC_val_solution.csv (`ILSVRC2012_val_00000001,n01751748 111 108 441 193`).

Class numbers are positions in the order of the identifiers, 0 to 999. In a file named …ground_truth…, or if
1,000 occurs and 0 does not, they are ILSVRC2012_IDs, 1 to 1,000, which have another order.

A list without names may have more lines than pictures if the pictures have numbers (…_val_00000007).
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from clipserve.labels import vocabulary
from clipserve.tools.evaluation.dataset import Account, Dataset, DatasetError, Sample
from clipserve.tools.evaluation.folder import (
    account_of,
    chosen_split,
    class_folders,
    folder_names,
    folder_samples,
    read_lines,
)
from clipserve.tools.picture_files import PassedOver, find_images

NUMBERED = re.compile(r"_(\d{8})$")
IMAGENET_LISTS = (
    "ILSVRC2012_validation_ground_truth.txt",
    "LOC_val_solution.csv",
    "imagenet_2012_validation_synset_labels.txt",
)
"""Names of lists of ImageNet only; they are also found in folders above."""
COMMON_LISTS = ("val.txt", "val_labels.txt", "labels.txt", "ground_truth.txt")
"""Names of lists of any data set; beside the folder, such a list may belong to another folder."""
MOST_DIGITS = 9
CLASSES = 1000
UNLISTED = "not in the list"
"""Kind under which pictures without a label are counted."""


@functools.cache
def synsets() -> tuple[Mapping[str, int], Mapping[int, int]]:
    text = (resources.files("clipserve") / "data" / "imagenet1k_synsets.txt").read_text(encoding="utf-8")
    rows = [line.split() for line in text.splitlines()]
    return (
        {wnid: i for i, (wnid, _) in enumerate(rows)},
        {int(number): i for i, (_, number) in enumerate(rows)},
    )


def load_imagenet(path: Path, split: str = "", ground_truth: Path | None = None) -> Dataset:
    """The pictures below `path`. Raises DatasetError if pictures or labels are missing."""
    words = vocabulary("imagenet1k")
    given, path = path, chosen_split(path, split or ("val" if (path / "val").is_dir() else ""))
    by_wnid, _ = synsets()
    folders = class_folders(path)
    if ground_truth is None and any(folder.files and folder.name in by_wnid for folder in folders):
        samples, account = folder_samples(path, folders, by_wnid), account_of(folders, by_wnid)
    else:
        labels = ground_truth or find_list(path, given)
        samples, passed_over = flat_samples(path, labels)
        account = Account(label_list="" if ground_truth else str(labels), passed_over=passed_over)
    if not samples:
        skipped = account.passed_over
        raise DatasetError(
            f"no pictures found in {path}" + (f" (skipped: {skipped.words()})" if skipped else "")
        )
    return Dataset(f"ImageNet {path.name}", words.classes, samples, words.templates, account)


def find_list(path: Path, given: Path) -> Path:
    """The list of labels of the pictures in `path`. Raises DatasetError if there is none.

    Any list counts in `path` or in the given folder; beside `path` only if it has the folder's name (val.txt,
    val_labels.txt) or there is no other folder. A list of IMAGENET_LISTS may also be in the three folders
    above, or in a development kit there.
    """
    own = path.resolve()
    beside = [own.parent / f"{own.name}{ending}.txt" for ending in ("", "_labels")]
    with contextlib.suppress(OSError):
        if folder_names(own.parent) == [own.name]:
            beside += [own.parent / name for name in COMMON_LISTS]
    candidates = [folder / name for folder in (path, given) for name in (*IMAGENET_LISTS, *COMMON_LISTS)]
    for folder in (path, *own.parents[:3]):
        for name in IMAGENET_LISTS:
            candidates += [folder / name, *sorted(folder.glob(f"*devkit*/data/{name}"))]
    for candidate in (*candidates, *beside):
        if candidate.is_file():
            return candidate
    raise DatasetError(
        f"{path} has no folders named by WordNet identifiers (n01440764 …), and no list of labels was found; "
        "name one with --ground-truth"
    )


def flat_samples(path: Path, ground_truth: Path) -> tuple[list[Sample], PassedOver]:
    """The pictures of one folder with labels of the list, and what was skipped."""
    passed_over = PassedOver()
    files = sorted(find_images(path, passed_over))
    labels = read_list(ground_truth, [file.name for file in files])
    unlisted = sum(label < 0 for label in labels)
    passed_over.files.update({UNLISTED: unlisted} if unlisted else {})
    samples = [
        Sample(file.relative_to(path).as_posix(), file, label)
        for file, label in zip(files, labels, strict=True)
        if label >= 0
    ]
    return samples, passed_over


def read_list(path: Path, names: Sequence[str]) -> list[int]:
    """The class of each picture, −1 for pictures that are not in the list. Raises DatasetError."""
    lines = read_lines(path)
    rows = [re.split(r"[\s,]+", line.strip()) for line in lines if line.strip()]
    rows = [row for row in rows if row[0] != "ImageId"]
    if not rows:
        raise DatasetError(f"{path} is empty")
    named = len(rows[0]) > 1
    marks = [row[1] if named and len(row) > 1 else row[0] for row in rows]
    classes = [read_mark(mark, path) for mark in marks] if not all_numbers(marks) else numbered(marks, path)
    if named:
        label_by_name = {Path(row[0]).stem: label for row, label in zip(rows, classes, strict=True)}
        return [label_by_name.get(Path(name).stem, -1) for name in names]
    if len(classes) == len(names):
        return classes
    numbers = [int((NUMBERED.findall(Path(name).stem) or ["0"])[0]) for name in names]
    if not names or not all(1 <= number <= len(classes) for number in numbers):
        raise DatasetError(
            f"{path} has {len(classes)} labels without names, but there are {len(names)} pictures; give "
            "a label for each picture, or number the pictures (…_val_00000007)"
        )
    return [classes[number - 1] for number in numbers]


def all_numbers(marks: Sequence[str]) -> bool:
    return all(mark.isdecimal() and len(mark) <= MOST_DIGITS for mark in marks)


def read_mark(mark: str, path: Path) -> int:
    """The class of an identifier. Raises DatasetError."""
    label = synsets()[0].get(mark, -1)
    if label < 0:
        raise DatasetError(f"{path}: {mark!r} is not the identifier of one of the 1,000 classes")
    return label


def numbered(marks: Sequence[str], path: Path) -> list[int]:
    """The classes of numbers. The list's name or range tells their kind. Raises DatasetError."""
    numbers = [int(mark) for mark in marks]
    if max(numbers) > CLASSES or (min(numbers) == 0 and max(numbers) == CLASSES):
        raise DatasetError(f"{path}: class numbers must be 0 to 999, or 1 to 1,000")
    if "ground_truth" in path.name or max(numbers) == CLASSES:
        if min(numbers) == 0:
            raise DatasetError(
                f"{path}: an ILSVRC2012_ID cannot be 0; rename the file if its numbers are 0 to 999"
            )
        by_id = synsets()[1]
        return [by_id[number] for number in numbers]
    return numbers
