"""A labelled set of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clipserve.inputs.image_like import ImageLike
from clipserve.inputs.picture_files import PassedOver

NAMED = 5
"""Classes, folders or files that a sentence names."""


class DatasetError(ValueError):
    """The files are not what they should be; the text says what to do."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture."""

    name: str
    """How people find it again: a relative path, or `file[index]`."""
    image: ImageLike
    label: int
    """Position in the set's classes."""


@dataclass(frozen=True)
class Account:
    """Where a set was read from, and what of that is not in it."""

    files: tuple[str, ...] = ()
    """Files that hold many pictures each; none for folders of pictures."""
    expected: int = 0
    """How many pictures the whole set has as published; 0 if that is not known."""
    label_list: str = ""
    """File that the labels were read from; empty if it was given, or if there is none."""
    passed_over: PassedOver = field(default_factory=PassedOver)
    folders_left_out: tuple[str, ...] = ()
    """Folders that are no classes."""
    lost_classes: tuple[str, ...] = ()
    """Classes whose folder has pictures, of which none can be read."""


@dataclass(frozen=True)
class Dataset:
    """Pictures and the classes they are of."""

    name: str
    classes: tuple[str, ...]
    """Names; two classes may bear one."""
    samples: Sequence[Sample]
    templates: tuple[str, ...] = ()
    """Prompts published for this set; none means the server's own."""
    account: Account = field(default_factory=Account)

    def limited(self, limit: int | None) -> Dataset:
        """At most `limit` samples, evenly spread over the set, which is often sorted by class."""
        count = len(self.samples)
        if limit is None or limit >= count:
            return self
        return replace(self, samples=[self.samples[i * count // limit] for i in range(limit)])

    @property
    def empty_classes(self) -> tuple[str, ...]:
        """Names of the classes that no picture is of."""
        used = {sample.label for sample in self.samples}
        return tuple(name for i, name in enumerate(self.classes) if i not in used)

    def facts(self) -> dict[str, Any]:
        """What was read, for JSON."""
        return {
            "pictures_read": len(self.samples),
            "files_read": list(self.account.files),
            "classes_without_pictures": list(self.empty_classes),
            "folders_left_out": list(self.account.folders_left_out),
            **self.account.passed_over.facts(),
        }

    def sentences(self) -> list[str]:
        """What was read, and what is missing, for people."""
        account, empty = self.account, self.empty_classes
        files = f" from {shortened(account.files)}" if account.files else ""
        files += f", labels from {account.label_list}" if account.label_list else ""
        sentences = [
            f"read {len(self.samples):,} pictures of {len(self.classes) - len(empty):,} classes{files}"
        ]
        if account.expected not in (0, len(self.samples)):
            sentences.append(f"{self.name} as published has {account.expected:,} pictures")
        if empty:
            sentences.append(f"classes without pictures, kept as labels: {shortened(empty)}")
        if account.folders_left_out:
            sentences.append(f"no classes of the set, left out: {shortened(account.folders_left_out)}")
        if account.passed_over:
            sentences.append(f"passed over: {account.passed_over.words()}")
        return sentences


def shortened(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
