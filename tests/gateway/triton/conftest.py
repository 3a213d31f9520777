"""A pool of two fake replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from testing.fleet import Fleet


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    await fleet.refresh()
    yield fleet
    await fleet.pool.close()
