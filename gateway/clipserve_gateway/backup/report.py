"""How far a backup or a restore is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class Report(Protocol):
    """Shows how far a backup or a restore is."""

    def __call__(self, what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """A bar of `total` bytes; the callable is told of bytes that are done."""
        ...
