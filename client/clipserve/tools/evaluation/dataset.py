"""A labelled data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clipserve.inputs.image_like import ImageLike
from clipserve.tools.picture_files import PassedOver

LISTED_NAMES = 5
"""Number of names that a sentence lists."""


class DatasetError(ValueError):
    """The files cannot be read as the data set; the text tells what to do."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture."""

    name: str
    """A relative path, or `file[index]`."""
    image: ImageLike
    label: int
    """Index of the class."""


@dataclass(frozen=True)
class Account:
    """The source of a data set, and what was skipped."""

    files: tuple[str, ...] = ()
    """Files with many pictures each; empty for folders of pictures."""
    expected: int = 0
    """Published number of pictures; 0 if unknown."""
    label_list: str = ""
    """Path of the list of labels that was found; empty if it was given, or if there is none."""
    passed_over: PassedOver = field(default_factory=PassedOver)
    folders_left_out: tuple[str, ...] = ()
    """Folders that are not classes."""
    lost_classes: tuple[str, ...] = ()
    """Classes whose folder has only unreadable pictures."""


@dataclass(frozen=True)
class Dataset:
    """Pictures and their classes."""

    name: str
    classes: tuple[str, ...]
    """Names. Two classes may have the same name."""
    samples: Sequence[Sample]
    templates: tuple[str, ...] = ()
    """Prompt templates published for this set; empty for the default ones."""
    account: Account = field(default_factory=Account)

    def limited(self, limit: int | None) -> Dataset:
        """At most `limit` samples, evenly spread, since sets are often sorted by class."""
        count = len(self.samples)
        if limit is None or limit >= count:
            return self
        return replace(self, samples=[self.samples[i * count // limit] for i in range(limit)])

    @property
    def empty_classes(self) -> tuple[str, ...]:
        used = {sample.label for sample in self.samples}
        return tuple(name for i, name in enumerate(self.classes) if i not in used)

    def facts(self) -> dict[str, Any]:
        return {
            "pictures_read": len(self.samples),
            "files_read": list(self.account.files),
            "classes_without_pictures": list(self.empty_classes),
            "folders_left_out": list(self.account.folders_left_out),
            **self.account.passed_over.facts(),
        }

    def sentences(self) -> list[str]:
        account, empty = self.account, self.empty_classes
        files = f" from {shortened(account.files)}" if account.files else ""
        files += f", labels from {account.label_list}" if account.label_list else ""
        sentences = [
            f"read {len(self.samples):,} pictures of {len(self.classes) - len(empty):,} classes{files}"
        ]
        if account.expected not in (0, len(self.samples)):
            sentences.append(f"the published {self.name} has {account.expected:,} pictures")
        if empty:
            sentences.append(f"classes without pictures, which remain as labels: {shortened(empty)}")
        if account.folders_left_out:
            sentences.append(f"folders that are not classes, skipped: {shortened(account.folders_left_out)}")
        if account.passed_over:
            sentences.append(f"skipped: {account.passed_over.words()}")
        return sentences


def shortened(names: Sequence[str]) -> str:
    """The first LISTED_NAMES names, and the number of others."""
    more = len(names) - LISTED_NAMES
    return ", ".join(names[:LISTED_NAMES]) + (f" and {more:,} more" if more > 0 else "")
