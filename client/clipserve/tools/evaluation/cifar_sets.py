"""CIFAR-10 and CIFAR-100: what their files are called, and what belongs in them."""

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
    """One of the two."""

    name: str
    command: str
    """Of `clipserve evaluate`; also its vocabulary."""
    classes: int
    batches: Mapping[str, tuple[str, ...]]
    """Names of the batches of each split, without suffixes."""
    label_bytes: int
    """At the beginning of each record of a binary batch; the last of them is the class."""
    pickled_labels: str
    """Their key in a pickled batch."""
    columns: tuple[str, ...]
    """Names that the column of labels has in tables."""
    archives: str
    """How the names of the published archives begin."""
    sizes: Mapping[str, int]
    """Pictures of each split, as published."""

    @property
    def record_bytes(self) -> int:
        """Of a binary batch."""
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
SETS = (CIFAR10, CIFAR100)
NEW_TEST = re.compile(r"cifar-?10\.1[_-](v[46])", re.IGNORECASE)
"""Files of CIFAR-10.1, another test set for the classes of CIFAR-10."""
NEW_TEST_SIZES = {"v4": 2_021, "v6": 2_000}


def other_set(ours: CifarSet) -> CifarSet:
    """The other one."""
    return CIFAR100 if ours is CIFAR10 else CIFAR10


def is_other(name: str, ours: CifarSet) -> DatasetError:
    """The error of a file of the other set."""
    other = other_set(ours)
    return DatasetError(f"{name} is {other.name}, not {ours.name}: use `clipserve evaluate {other.command}`")
