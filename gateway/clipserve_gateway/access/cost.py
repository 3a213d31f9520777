"""What a request counts for against its token's rate, in items: a usual image or text is one."""

from __future__ import annotations

import math
from typing import Any

from clipserve_gateway.access.methods import Rpc
from clipserve_gateway.flow import stages

ITEM_BYTES = 4 << 20
"""A message or an answer counts for at least one item for so many bytes."""


def cost(rpc: Rpc, request: Any, size: int) -> int:
    """Items that a request of so many bytes counts for before it is worked on, at least 1."""
    named = len(getattr(request, rpc.items)) if rpc.items else 1
    return max(1, named, math.ceil(size / ITEM_BYTES))


def afterwards(answer_bytes: int) -> int:
    """Items that count only when the work is done: what it took beyond the items named, and its answer."""
    return int(stages.take_work()) + answer_bytes // ITEM_BYTES
