"""How many pieces an image file may be cut into: what looks at a file takes time for each piece of it."""

from __future__ import annotations

from clipserve_gateway.errors import ImageUnreadable

MAX_PIECES = 10_000
"""Segments, chunks or blocks before the picture; ordinary files have less than a hundred."""


def too_many_pieces() -> ImageUnreadable:
    """The error for a file of too many pieces."""
    return ImageUnreadable("the image file is cut into too many pieces")
