"""Every engine there is, for the cases that all of them must pass."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable

import pytest
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.engines import open_engine

from testing.memory_engine import MemoryEngine

ENGINES = ("memory", "lance", "milvus", pytest.param("milvus-lite", marks=pytest.mark.slow))
"""milvus-lite is tried with the heavier tests: it is another form of an engine that is tried anyway."""


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
    """One engine, whose store may hold what other tests left."""
    engine = opener()
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture
def key() -> str:
    """Begins keys of documents that no other test has."""
    return f"test/{os.urandom(4).hex()}/"
