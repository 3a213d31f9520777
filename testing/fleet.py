"""Two fake Triton replicas behind one pool, for tests that break them."""

from __future__ import annotations

import asyncio

import numpy as np
from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.triton.canary import inputs_of
from clipserve_gateway.triton.model_config import parse_model
from clipserve_gateway.triton.replica_pool import ReplicaPool
from clipserve_gateway.types import ModelSpec

from testing.fakes import SIZE, FakeEncoder, FakeTriton, canary_parameters, towers

PICTURE = np.random.default_rng(2).integers(0, 255, (1, SIZE, SIZE, 3), np.uint8)
"""What callers send."""


class FakeReplica(FakeTriton, FakeEncoder):
    """A Triton that tests break: away, silent, wrong, or full."""

    def __init__(self, fingerprint: str = "f" * 64) -> None:
        found = [
            *towers(fingerprint=fingerprint, **canary_parameters()),
            *towers(model="other", fingerprint="0" * 64, **canary_parameters()),
        ]
        FakeTriton.__init__(self, *found)
        FakeEncoder.__init__(self)
        self.calls = 0
        """Of callers: canaries do not count."""
        self.away = False
        self.breaks = 0
        """Calls that break off."""
        self.silent = asyncio.Event()
        self.silent.set()
        self.wrong: set[str] = set()
        """Models, and versions."""
        self.asked: list[str] = []
        """Versions that were named."""
        self.failure: errors.ClipserveError | None = None
        self.closed = False

    async def repository_index(self, timeout: float) -> dict[str, frozenset[str]]:
        await self._reach(Deadline.after(timeout))
        return await super().repository_index(timeout)

    async def encode(self, spec, tower, rows, deadline):
        canary, _ = inputs_of(spec, spec.canary)
        self.calls += tower == "image" and not np.array_equal(rows, canary)
        self.asked.append(spec.version)
        await self._reach(deadline)
        if any(spec.version not in versions for versions in await self._versions(spec.name)):
            raise errors.ModelUnavailable(f"version {spec.version} is not at ready state")
        if self.breaks:
            self.breaks -= 1
            raise errors.ServerUnavailable("connection reset")
        if self.failure is not None:
            raise self.failure
        answer = await super().encode(spec, tower, rows, deadline)
        return answer[:, ::-1].copy() if self.wrong & {spec.name, spec.version} else answer

    async def _versions(self, model: str) -> list[frozenset[str]]:
        loaded = await FakeTriton.repository_index(self, 1.0)
        return [loaded[f"{model}_{tower}"] for tower in ("image", "text")]

    def load(self, *versions: str, only: str = "", **changes: str) -> None:
        """Has these versions, or one tower has, and the last one's configuration."""
        for tower in towers(model_version=versions[-1], **canary_parameters(), **changes):
            if tower.triton_name.endswith(only):
                self.found[tower.triton_name] = tower
                self.loaded[tower.triton_name] = frozenset(versions)

    async def _reach(self, deadline: Deadline) -> None:
        if self.away:
            raise errors.ServerUnavailable("connection refused")
        try:
            await asyncio.wait_for(self.silent.wait(), max(0.0, deadline.remaining()))
        except asyncio.TimeoutError:
            raise errors.DeadlineExceeded("no answer") from None

    async def close(self) -> None:
        self.closed = True


class Fleet:
    """Two fake replicas behind one pool."""

    def __init__(self, canary_seconds: float | None = 0.05) -> None:
        self.fakes: dict[str, FakeReplica] = {}
        self.metrics = Metrics()
        self.pool = ReplicaPool(
            "127.0.0.1:1,127.0.0.1:2", self.connect, self.metrics, canary_seconds=canary_seconds
        )
        self.spec: ModelSpec = parse_model(*towers(**canary_parameters()))

    def connect(self, address: str) -> FakeReplica:
        return self.fakes.setdefault(address, FakeReplica())

    @property
    def both(self) -> list[FakeReplica]:
        return [self.fakes["127.0.0.1:1"], self.fakes["127.0.0.1:2"]]

    async def refresh(self, timeout: float = 1.0) -> dict[str, frozenset[str]]:
        return await self.pool.repository_index(timeout)

    async def rerun_canaries(self) -> dict[str, frozenset[str]]:
        """Runs all canaries once more; the index after them."""
        await asyncio.sleep(0.06)
        await self.refresh()
        watched = [model for it in self.pool._replicas.values() for model in it._watched.values()]
        under_way = [model.canary for model in watched if model.canary is not None]
        if under_way:
            await asyncio.wait(under_way, timeout=0.5)
        return await self.refresh()

    async def ask(self, spec: ModelSpec | None = None, seconds: float = 5.0) -> np.ndarray:
        return await self.pool.encode(spec or self.spec, "image", PICTURE, Deadline.after(seconds))

    def ok(self, replica: int, model: str = "fake") -> float | None:
        labels = {"replica": f"127.0.0.1:{replica}", "model": model}
        return self.metrics.registry.get_sample_value("clipserve_canary_ok", labels)


async def shares(fleet: Fleet, calls: int = 10) -> list[int]:
    """How many of some callers' calls each replica got."""
    before = [fake.calls for fake in fleet.both]
    for _ in range(calls):
        await fleet.ask()
    return [fake.calls - was for fake, was in zip(fleet.both, before, strict=True)]
