"""An engine that does not write while the catalog does not account for the tables, and tells if it is up."""

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
from clipserve_gateway.store.check import StoreState, look

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
"""What every gateway asks the engine again and again, even without calls."""
AGAIN_SECONDS = 5.0
"""While writes are refused, the store is looked at again this often at most."""


class GuardedEngine:
    """The methods of Engine. The first write, or `open`, looks at the store; see check.StoreState."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._looking = asyncio.Lock()
        self._state: StoreState | None = None
        self._looked = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if name in WRITES:
            return self._guarded(found)
        return self._noted(found) if name in READS else found

    def _noted(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(method)
        async def read(*args: Any, **kwargs: Any) -> Any:
            with self._telling():
                return await method(*args, **kwargs)

        return read

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Tells whether the engine does what is asked of it inside."""
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
        """Opens the engine and looks at the store. Raises StorageFailed, StorageUnavailable."""
        with self._telling():
            await self._engine.open()
        await self._look()

    async def _check(self) -> None:
        """Raises StoreNotWritable."""
        state = await self._look()
        if state.problem:
            raise StoreNotWritable(state.problem)

    async def _look(self) -> StoreState:
        async with self._looking:
            if self._state is None or time.monotonic() > self._looked + AGAIN_SECONDS:
                state = await look(self._engine)
                self._looked = time.monotonic()
                if state != self._state:
                    self._tell(state)
                self._state = state
            return self._state

    def _tell(self, state: StoreState) -> None:
        self._metrics.store_writable.set(0 if state.problem else 1)
        self._metrics.orphan_tables.clear()
        for name in (*state.orphans, *state.unlisted):
            self._metrics.orphan_tables.labels(name).set(1)
        if state.problem:
            log.error("%s", state.problem)
        elif self._state is not None:
            log.info("the catalog accounts for all tables again; writes go on")
        for name in state.orphans:
            log.warning(
                "table %s belongs to no collection: an interrupted create, drop or migration left it. It is "
                "kept. To delete it: clipserve-gateway store orphans --delete %s",
                name,
                name,
            )


def guarded(engine: Engine, metrics: Metrics) -> Engine:
    """The engine behind a GuardedEngine."""
    return cast(Engine, GuardedEngine(engine, metrics))
