"""How much memory a read of points needs at most; computed before the read."""

from __future__ import annotations

from clipserve_gateway.flow.byte_budget import SMALL_BYTES
from clipserve_gateway.index.values import MAX_ID_BYTES, MAX_URI_BYTES
from clipserve_gateway.types import Limits

STEP_WITH_SOURCES = 4
"""Points that are read at once with their sources; each source may be as large as an image."""
COPIES = 3
"""The engine's rows, the points, and the message."""


def bytes_to_read(
    count: int,
    limits: Limits,
    *,
    dim: int = 0,
    with_payload: bool = True,
    with_sources: bool = False,
) -> int:
    """Bytes that a read of `count` points needs at most; `dim` is 0 if no embeddings are read.

    Sources are read STEP_WITH_SOURCES at a time, until they fill a message.
    """
    point_bytes = MAX_ID_BYTES + MAX_URI_BYTES + 4 * dim + (limits.max_payload_bytes if with_payload else 0)
    points_bytes = count * point_bytes
    total = points_bytes if points_bytes <= SMALL_BYTES else COPIES * points_bytes
    if with_sources:
        step_bytes = min(count, STEP_WITH_SOURCES) * limits.max_image_bytes
        total += 2 * step_bytes + min(count * limits.max_image_bytes, limits.max_message_bytes)
    return total
