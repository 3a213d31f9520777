"""Collections for tests of what is written about them."""

from __future__ import annotations

import datetime as dt

from clipserve_gateway.collection.spec import CollectionSpec, Generation
from clipserve_gateway.types import ImageRules

from testing.domain import SCHEMA

OLD = Generation("c_pets_old", "old", "0" * 64, 2)
NEW = Generation("c_pets_new", "new", "1" * 64, 2, rules=ImageRules(True, (10, 60, 200)))


def spec(**changes: object) -> CollectionSpec:
    """A collection of the old model."""
    created = dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.timezone.utc)
    facts: dict = {"schema": SCHEMA, "create_time": created, "serving": OLD} | changes
    return CollectionSpec("pets", **facts)
