"""What a case is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

UNREADABLE, TOO_LARGE, UNSUPPORTED = "IMAGE_UNREADABLE", "IMAGE_TOO_LARGE", "IMAGE_FORMAT_UNSUPPORTED"
ANSWERED = ""
"""In the place of a reason: no error."""


@dataclass(frozen=True)
class Item(Generic[T]):
    """One item of a batch. Its neighbors are answered whatever becomes of it."""

    name: str
    make: Callable[[], T]
    reason: str
    """Of its status; empty where it is answered."""
    field: str = ""
    """Within the item."""

    @functools.cached_property
    def value(self) -> T:
        """The item; made once."""
        return self.make()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Call:
    """One whole call."""

    name: str
    method: str
    """`Service/Method`."""
    make: Callable[[], bytes]
    """The request as it goes over the wire."""
    code: str
    reason: str = ""
    field: str = ""

    def __str__(self) -> str:
        return self.name
