"""A store with everything in it, and its backup."""

from __future__ import annotations

import pytest
from clipserve_gateway.backup.take import take

from testing.filled_store import Store, quiet


@pytest.fixture
async def store(tmp_path):
    made = await Store(tmp_path / "data").fill()
    yield made
    await made.close()


@pytest.fixture
async def backup(store, tmp_path):
    """The folder of a backup."""
    await take(store.uri, tmp_path / "backup", quiet)
    return tmp_path / "backup"
