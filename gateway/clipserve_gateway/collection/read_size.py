"""How much memory it may take to read points from an engine, before they are read."""

from __future__ import annotations

from clipserve_gateway.flow.byte_budget import SMALL_BYTES
from clipserve_gateway.types import Limits

STEP_WITH_SOURCES = 4
"""Points read at once with their sources, which may have as many bytes as an image."""
ID_AND_URI_BYTES = 512 + 2_048
COPIES = 3
"""As the engine gives it, as points, and as a message."""


def bytes_to_read(
    count: int,
    limits: Limits,
    *,
    dim: int = 0,
    with_payload: bool = True,
    with_sources: bool = False,
) -> int:
    """Bytes at most for so many points; `dim` is that of embeddings which are read too.

    Sources are read a few at a time, and no more once they fill a message.
    """
    each = ID_AND_URI_BYTES + 4 * dim + (limits.max_payload_bytes if with_payload else 0)
    found = count * each if count * each <= SMALL_BYTES else COPIES * count * each
    if with_sources:
        step = min(count, STEP_WITH_SOURCES) * limits.max_image_bytes
        found += 2 * step + min(count * limits.max_image_bytes, limits.max_message_bytes)
    return found
