"""Gateways on one engine, for tests of migrations."""

from __future__ import annotations

import pytest
from clipserve_gateway.collection import catalog as catalog_module
from clipserve_gateway.collection import migration as migration_module
from clipserve_gateway.collection import migration_switchover as switchover_module
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.settings import Settings

from testing.domain import Domain, two_models
from testing.fakes import fake_models
from testing.memory_engine import MemoryEngine


@pytest.fixture
def no_waiting(monkeypatch):
    """Gateways hear of each other at once, so that nothing has to be waited for."""
    monkeypatch.setattr(catalog_module, "CACHE_SECONDS", 0)
    for name in ("CACHE_SECONDS", "SETTLE_SECONDS", "RETRY_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(migration_module, name, 0)
    monkeypatch.setattr(catalog_module, "MIGRATING_CACHE_SECONDS", 0)
    monkeypatch.setattr(switchover_module, "PHASE_SECONDS", 0)


@pytest.fixture(params=["memory", "lance"])
async def engine(request, tmp_path):
    engine = MemoryEngine() if request.param == "memory" else LanceEngine(str(tmp_path / "store"))
    yield engine
    await engine.close()


@pytest.fixture
async def gateways(encoder, pool):
    """Makes gateways; each is closed at the end."""
    made = []

    async def make(engine, prefixes=()) -> Domain:
        models = await fake_models(two_models(), default="fake")
        embedder = Embedder(models, encoder, pool, Settings().limits, Metrics(), fast_decode=True)
        made.append(Domain(engine, models, embedder, prefixes))
        return made[-1]

    yield make
    for domain in made:
        await domain.close()


@pytest.fixture
async def domain(gateways, engine):
    return await gateways(engine)
