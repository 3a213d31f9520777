"""How payload fields become columns."""

from __future__ import annotations

from collections.abc import Mapping

from clipserve_gateway.index.values import PayloadType


def columns(schema: Mapping[str, PayloadType]) -> dict[str, str]:
    """Payload field → column. Columns are numbered: no field name ever reaches an engine as syntax."""
    return {name: f"p{i}" for i, name in enumerate(schema)}
