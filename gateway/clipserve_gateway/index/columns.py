"""Maps payload fields to columns."""

from __future__ import annotations

from collections.abc import Mapping

from clipserve_gateway.index.values import PayloadType


def columns(schema: Mapping[str, PayloadType]) -> dict[str, str]:
    """Payload field → column. Columns have numbers, so that a field's name never becomes syntax."""
    return {name: f"p{i}" for i, name in enumerate(schema)}
