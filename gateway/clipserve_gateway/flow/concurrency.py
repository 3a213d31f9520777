"""Concurrent tasks, and locks by key."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Hashable, Iterable
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
U = TypeVar("U")
Key = TypeVar("Key", bound=Hashable)


async def gather(*coroutines: Coroutine[Any, Any, T]) -> list[T]:
    """Returns the results in order. If one fails or the caller is cancelled, the others are cancelled."""
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        # Drops the references to tasks: an error's traceback holds this frame, and its task the error.
        while tasks:
            tasks.pop().cancel()


async def gather_two(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """Returns two results. If one fails or the caller is cancelled, the other is cancelled."""
    one, two = await gather(first, second)
    return cast(T, one), cast(U, two)


class KeyLocks(Generic[Key]):
    """Locks by key: blocks that share a key run one after another in order of arrival."""

    def __init__(self) -> None:
        self._held: list[tuple[frozenset[Key], asyncio.Event]] = []

    @contextlib.asynccontextmanager
    async def hold(self, keys: Iterable[Key]) -> AsyncIterator[None]:
        """Waits for all earlier holders of one of the keys, and holds the keys during the block."""
        mine = (frozenset(keys), asyncio.Event())
        earlier = [done for held, done in self._held if held & mine[0]]
        self._held.append(mine)
        try:
            for done in earlier:
                await done.wait()
            yield
        finally:
            self._held.remove(mine)
            mine[1].set()
