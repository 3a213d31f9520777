"""CIFAR-10 and CIFAR-100: names of files, columns and keys, and sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from clipserve.tools.evaluation.dataset import DatasetError

SIDE = 32
PIXELS = 3 * SIDE * SIDE
SPLITS = ("test", "train")


@dataclass(frozen=True)
class CifarSet:
    """CIFAR-10 or CIFAR-100."""

    name: str
    command: str
    """Argument of `clipserve evaluate`; also the name of the vocabulary."""
    classes: int
    batches: Mapping[str, tuple[str, ...]]
    """Names of the batches of each split, without suffixes."""
    label_bytes: int
    """Label bytes at the beginning of each binary record; the last one is the class."""
    pickled_labels: str
    """Key of the labels in a pickled batch."""
    columns: tuple[str, ...]
    """Possible names of the column of labels in tables."""
    archives: str
    """Prefix of the names of the published archives."""
    sizes: Mapping[str, int]
    """Published number of pictures of each split."""

    @property
    def record_bytes(self) -> int:
        return self.label_bytes + PIXELS


CIFAR10 = CifarSet(
    name="CIFAR-10",
    command="cifar10",
    classes=10,
    batches={"test": ("test_batch",), "train": tuple(f"data_batch_{i}" for i in range(1, 6))},
    label_bytes=1,
    pickled_labels="labels",
    columns=("label", "labels"),
    archives="cifar-10-",
    sizes={"test": 10_000, "train": 50_000},
)
CIFAR100 = CifarSet(
    name="CIFAR-100",
    command="cifar100",
    classes=100,
    batches={"test": ("test",), "train": ("train",)},
    label_bytes=2,
    pickled_labels="fine_labels",
    columns=("fine_label", "fine_labels", "label", "labels"),
    archives="cifar-100-",
    sizes={"test": 10_000, "train": 50_000},
)
NEW_TEST = re.compile(r"cifar-?10\.1[_-](v[46])", re.IGNORECASE)
"""Names of files of CIFAR-10.1, another test set with the classes of CIFAR-10."""
NEW_TEST_SIZES = {"v4": 2_021, "v6": 2_000}


def other_set(ours: CifarSet) -> CifarSet:
    return CIFAR100 if ours is CIFAR10 else CIFAR10


def is_other(name: str, ours: CifarSet) -> DatasetError:
    other = other_set(ours)
    return DatasetError(f"{name} is {other.name}, not {ours.name}: use `clipserve evaluate {other.command}`")
