"""A labelled set of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clipserve.images import ImageLike


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
class Dataset:
    """Pictures and the classes they are of."""

    name: str
    classes: tuple[str, ...]
    """Names; two classes may bear one."""
    samples: Sequence[Sample]
    templates: tuple[str, ...] = ()
    """Prompts published for this set; none means the server's own."""

    def limited(self, limit: int | None) -> Dataset:
        """At most `limit` samples, evenly spread over the set, which is often sorted by class."""
        count = len(self.samples)
        if limit is None or limit >= count:
            return self
        return replace(self, samples=[self.samples[i * count // limit] for i in range(limit)])
