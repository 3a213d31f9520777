"""The limit for pieces of an image file. Reading a file takes time for each of its pieces."""

from __future__ import annotations

from clipserve_gateway.errors import ImageUnreadable

MAX_PIECES = 10_000
"""Most segments, chunks or blocks before the pixels; ordinary files have less than a hundred."""


def too_many_pieces() -> ImageUnreadable:
    """The error for a file with too many pieces."""
    return ImageUnreadable("the image file has too many segments, chunks or blocks")
