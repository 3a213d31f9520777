"""An engine that refuses writes while catalog and tables do not match, and reports whether it is up."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

from clipserve_gateway.errors import StorageFailed, StorageUnavailable, StoreNotWritable
from clipserve_gateway.index.base import Engine
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.store.check import StoreState, inspect_store

log = logging.getLogger(__name__)

WRITES = {
    "put_document",
    "delete_document",
    "create_table",
    "drop_table",
    "upsert",
    "delete",
    "delete_where",
    "purge",
    "purge_documents",
}
READS = {"get_document", "documents"}
"""Methods that every gateway calls regularly, even without traffic."""
RECHECK_SECONDS = 5.0
"""Minimum time between two checks of the store while writes are refused."""


class GuardedEngine:
    """Wraps an Engine. `open` or the first write checks the store; see check.StoreState."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._checking = asyncio.Lock()
        self._state: StoreState | None = None
        self._checked_at = 0.0

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._engine, name)
        if name in WRITES:
            return self._guarded(attribute)
        return self._monitored(attribute) if name in READS else attribute

    def _monitored(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(method)
        async def read(*args: Any, **kwargs: Any) -> Any:
            with self._reporting():
                return await method(*args, **kwargs)

        return read

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Sets the metric engine_up by the success of the engine's work inside."""
        try:
            yield
        except (StorageFailed, StorageUnavailable):
            self._metrics.engine_up.set(0)
            raise
        self._metrics.engine_up.set(1)

    def _guarded(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(method)
        async def write(*args: Any, **kwargs: Any) -> Any:
            if self._state is None or self._state.problem:
                await self._check()
            return await method(*args, **kwargs)

        return write

    async def open(self) -> None:
        """Opens the engine and checks the store. Raises StorageFailed, StorageUnavailable."""
        with self._reporting():
            await self._engine.open()
        await self._look()

    async def _check(self) -> None:
        """Raises StoreNotWritable."""
        state = await self._look()
        if state.problem:
            raise StoreNotWritable(state.problem)

    async def _look(self) -> StoreState:
        async with self._checking:
            if self._state is None or time.monotonic() > self._checked_at + RECHECK_SECONDS:
                state = await inspect_store(self._engine)
                self._checked_at = time.monotonic()
                if state != self._state:
                    self._report(state)
                self._state = state
            return self._state

    def _report(self, state: StoreState) -> None:
        self._metrics.store_writable.set(0 if state.problem else 1)
        self._metrics.orphan_tables.clear()
        for name in (*state.orphans, *state.unlisted):
            self._metrics.orphan_tables.labels(name).set(1)
        if state.problem:
            log.error("%s", state.problem)
        elif self._state is not None:
            log.info("catalog and tables match again; writes are allowed")
        for name in state.orphans:
            log.warning(
                "table %s does not belong to a collection: an interrupted create, drop or migration left it. "
                "It is kept. To delete it: clipserve-gateway store orphans --delete %s",
                name,
                name,
            )


def guarded(engine: Engine, metrics: Metrics) -> Engine:
    """The engine, wrapped in a GuardedEngine."""
    return cast(Engine, GuardedEngine(engine, metrics))
