"""All engines, for the cases that every one of them must pass."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable

import pytest
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.engines import open_engine

from testing.memory_engine import MemoryEngine

ENGINES = ("memory", "lance", "milvus", pytest.param("milvus-lite", marks=pytest.mark.slow))
"""milvus-lite runs with the slow tests, because it is a variant of an engine that is tested anyway."""


@pytest.fixture(scope="session", params=ENGINES)
def opener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Engine]:
    """Opens engines of one kind, all on the same store."""
    if request.param == "memory":
        memory = MemoryEngine()
        return lambda: memory
    if request.param == "milvus":
        uri = request.getfixturevalue("milvus").uri
    else:
        folder = tmp_path_factory.mktemp(request.param)
        uri = str(folder) if request.param == "lance" else f"milvus-lite:{folder / 'milvus.db'}"
    return lambda: open_engine(uri)


@pytest.fixture
async def engine(opener: Callable[[], Engine]) -> AsyncIterator[Engine]:
    """An engine, whose store may hold data of other tests."""
    engine = opener()
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture
def key() -> str:
    """A prefix of document keys that no other test uses."""
    return f"test/{os.urandom(4).hex()}/"
