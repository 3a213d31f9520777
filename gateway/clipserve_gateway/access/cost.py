"""The cost of a request against its token's rate, in items. An ordinary image or text costs one item."""

from __future__ import annotations

import math
from typing import Any

from clipserve_gateway.access.methods import Rpc
from clipserve_gateway.flow import stages

ITEM_BYTES = 4 << 20
"""Bytes of a message or answer that cost one item."""


def cost(rpc: Rpc, request: Any, size: int) -> int:
    """Items that a request of `size` bytes costs before work on it begins, at least 1."""
    named = len(getattr(request, rpc.items)) if rpc.items else 1
    return max(1, named, math.ceil(size / ITEM_BYTES))


def afterwards(answer_bytes: int) -> int:
    """Items charged once the work is done: for work beyond the items named, and for the answer."""
    return int(stages.take_work()) + answer_bytes // ITEM_BYTES
