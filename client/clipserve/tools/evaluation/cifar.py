"""CIFAR-10, CIFAR-100 and CIFAR-10.1, in their usual file layouts:

- `cifar-10-batches-py`, `cifar-100-python`: Python pickles, read without running code;
- `cifar-10-batches-bin`, `cifar-100-binary`: records of label bytes and 3 × 1,024 pixel bytes;
- the published `.tar.gz` archives, and batches compressed by gzip;
- `.npz`: files concatenated in `jpeg` with `offset` and `label`, or arrays such as `x_test` and `y_test`;
- pairs of `.npy` files, as of CIFAR-10.1;
- Parquet and Arrow files of Hugging Face (needs pyarrow), in any number of shards;
- a folder for each class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from clipserve.inputs.files import open_regular
from clipserve.labels import vocabulary
from clipserve.tools.evaluation.cifar_arrays import labels_beside, names_split, npy_samples, npz_samples
from clipserve.tools.evaluation.cifar_batches import (
    batch_samples,
    read_batch,
    require_all,
    suffixes,
    tar_samples,
)
from clipserve.tools.evaluation.cifar_sets import (
    CIFAR10,
    CIFAR100,
    NEW_TEST,
    NEW_TEST_SIZES,
    SPLITS,
    CifarSet,
    is_other,
    other_set,
)
from clipserve.tools.evaluation.cifar_tables import table_samples
from clipserve.tools.evaluation.dataset import Account, Dataset, DatasetError, Sample, shortened
from clipserve.tools.evaluation.folder import account_of, class_folders, folder_samples

SHARD = re.compile(r"-(\d+)-of-(\d+)(?=\D)")
NOT_THE_SAME = re.compile(r"-[0-9a-f]{16}(?=\.)|(?<![a-zA-Z0-9])\d+")
"""The parts of a shard's name that differ between shards: hash and numbers, but not versions (v2)."""
CIFAR_NAME = re.compile(r"cifar[-_]?(100?)(?!\d)", re.IGNORECASE)
ARCHIVES = (".tar.gz", ".tgz", ".tar")


def load_cifar10(path: Path, split: str = "") -> Dataset:
    """The test or train split at `path`, a file or a folder. Raises DatasetError.

    The default split is the one that a file's name tells, else test.
    """
    return load(path, split, CIFAR10)


def load_cifar100(path: Path, split: str = "") -> Dataset:
    """Like load_cifar10, for CIFAR-100 with its 100 fine labels."""
    return load(path, split, CIFAR100)


def load(path: Path, split: str, ours: CifarSet) -> Dataset:
    split = split or named_split(path, ours) or "test"
    if split not in ours.batches:
        raise DatasetError(f"{ours.name} has the splits test and train, not {split!r}")
    if not path.exists():
        raise DatasetError(f"{path} does not exist")
    words = vocabulary(ours.command)
    files = find_files(path, split, ours) if path.is_dir() else [path]
    if files:
        account = Account(tuple(file.name for file in files), ours.sizes[split])
        samples = [sample for file in files for sample in file_samples(file, split, ours)]
    else:
        samples, account = in_folders(path, split, ours)
    for sample in samples:
        if not 0 <= sample.label < ours.classes:
            raise DatasetError(
                f"{sample.name} has label {sample.label}; {ours.name} has 0 to {ours.classes - 1}"
            )
    name = f"{ours.name} {split}"
    if ours is CIFAR10 and files and (newer := NEW_TEST.search(files[0].name)):
        version = newer[1].lower()
        name, account = f"CIFAR-10.1 {version}", Account(account.files, NEW_TEST_SIZES[version])
    return Dataset(name, words.classes, samples, words.templates, account)


def in_folders(path: Path, split: str, ours: CifarSet) -> tuple[list[Sample], Account]:
    """The pictures of a set with a folder for each class. Raises DatasetError if there are none."""
    below = path / split if (path / split).is_dir() else path
    folders = class_folders(below)
    labels = {name: number for number, name in enumerate(vocabulary(ours.command).classes)}
    # Names of two words may have an underscore in folders.
    labels |= {name.replace(" ", "_"): number for name, number in labels.items()}
    samples = folder_samples(below, folders, labels)
    if samples:
        return samples, account_of(folders, labels)
    if find_files(path, split, other_set(ours)):
        raise is_other(str(path), ours)
    other = next(name for name in SPLITS if name != split)
    if files := find_files(path, other, ours):
        raise DatasetError(
            f"{path} has no {split} split, but {shortened([file.name for file in files])}: --split {other}"
        )
    raise DatasetError(
        f"no {ours.name} {split} set found in {path}; expected its Python or binary batches, their .tar.gz, "
        "an .npz, a pair of .npy, Parquet or Arrow files whose names or folders say the split, or a folder "
        "for each class"
    )


def find_files(path: Path, split: str, ours: CifarSet) -> list[Path]:
    """The files of the first layout that matches, in order; none for folders of pictures."""
    files = [file for file in sorted(path.rglob("*"), key=by_number) if file.is_file() and of_set(file, ours)]
    for form in suffixes():
        if matches := batch_files(files, path, split, ours, form):
            return matches
    layouts: tuple[Callable[[Path], bool], ...] = (
        lambda file: file.suffix == ".npz" and of_split(file, path, split),
        lambda file: file.suffix == ".npz" and names_split(file, split),
        lambda file: file.suffix == ".npy" and bool(labels_beside(file)) and of_split(file, path, split),
        lambda file: file.suffix == ".parquet" and of_split(file, path, split),
        lambda file: file.suffix == ".arrow" and of_split(file, path, split),
        lambda file: file.name.startswith(ours.archives) and file.name.endswith(ARCHIVES),
    )
    for fits in layouts:
        if matches := [file for file in files if fits(file)]:
            return shards(matches, path, split)
    return []


def batch_files(
    there: Sequence[Path], path: Path, split: str, ours: CifarSet, form: Sequence[str]
) -> list[Path]:
    """The batches of a split with these suffixes. Raises DatasetError if some are missing or doubled."""
    wanted = {name + suffix: name for name in ours.batches[split] for suffix in form}
    batches: dict[str, list[Path]] = {}
    for file in there:
        if file.name in wanted:
            batches.setdefault(wanted[file.name], []).append(file)
    if not batches:
        return []
    require_all(len(batches), split, path, ours)
    for files in batches.values():
        if len(files) > 1:
            raise several(files, path)
    return [batches[name][0] for name in ours.batches[split]]


def shards(files: Sequence[Path], path: Path, split: str) -> list[Path]:
    """The files if they are the shards of one set. Raises DatasetError for several sets or missing shards."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        groups.setdefault((file.parent, NOT_THE_SAME.sub("#", file.name)), []).append(file)
    if len(groups) > 1:
        raise several([group[0] for group in groups.values()], path)
    counts = {int(match[2]) for file in files if (match := SHARD.search(file.name))}
    if counts and counts != {len(files)}:
        raise DatasetError(f"{path} has {len(files)} of the {max(counts)} files of its {split} split")
    return list(files)


def several(files: Sequence[Path], path: Path) -> DatasetError:
    named = ", ".join(file.relative_to(path).as_posix() for file in files[:4])
    return DatasetError(f"{path} has more than one set: {named}; name one of them with --data")


def named_split(path: Path, ours: CifarSet) -> str:
    """The split that the file's name tells; empty for folders and for other names."""
    if path.is_dir():
        return ""
    stem = path.name.split(".")[0]
    matches = [split for split in SPLITS if names(path.name, split) or stem in ours.batches[split]]
    return matches[0] if len(matches) == 1 else ""


def names(text: str, split: str) -> bool:
    """Whether a word of the name begins with the split."""
    return re.search(f"(?<![a-z]){split}", text.lower()) is not None


def of_split(file: Path, root: Path, split: str) -> bool:
    """Whether the name of the file, or of a folder between it and the root, tells the split."""
    if NEW_TEST.search(file.name):
        return split == "test"
    return any(names(part, split) for part in file.relative_to(root).parts)


def of_set(file: Path, ours: CifarSet) -> bool:
    """Whether the file's name fits the set: it does not tell the other set."""
    named = CIFAR_NAME.search(file.name)
    return named is None or (named[1] == "100") == (ours is CIFAR100)


def by_number(file: Path) -> list[tuple[int, str]]:
    """Sort key that places 2 before 10."""
    parts = re.split(r"(\d+)", file.as_posix())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def file_samples(path: Path, split: str, ours: CifarSet) -> Iterator[Sample]:
    """The samples of one file. Its first bytes, else its name, tell the format."""
    with open_regular(path) as file:
        head = file.read(8)
    if head.startswith(b"PK\3\4") or path.suffix == ".npz":
        return npz_samples(path, split, ours)
    if head.startswith(b"\x93NUMPY") or path.suffix == ".npy":
        return npy_samples(path, ours)
    if head.startswith((b"PAR1", b"ARROW1")) or path.suffix in (".parquet", ".arrow"):
        return table_samples(path, ours)
    if path.name.endswith(ARCHIVES):
        return tar_samples(path, split, ours)
    return batch_samples(path.name, read_batch(path), ours)
