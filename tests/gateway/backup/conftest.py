"""A store with everything in it, and its backup."""

from __future__ import annotations

import asyncio
import shutil

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


@pytest.fixture(scope="module")
def one_backup(tmp_path_factory):
    """The backup of a store that is closed; not to be changed."""
    folder = tmp_path_factory.mktemp("one")

    async def make():
        made = await Store(folder / "data").fill()
        await take(made.uri, folder / "backup", quiet)
        await made.close()

    asyncio.run(make())
    return folder / "backup"


@pytest.fixture
def own_backup(one_backup, tmp_path):
    """A copy of it for one test."""
    return shutil.copytree(one_backup, tmp_path / "backup")
