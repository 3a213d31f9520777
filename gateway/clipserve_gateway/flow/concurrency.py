"""Waiting for several things at once, sharing one computation among callers, and taking turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Hashable, Iterable
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
U = TypeVar("U")
Key = TypeVar("Key", bound=Hashable)


async def gather(*coroutines: Coroutine[Any, Any, T]) -> list[T]:
    """Results in order; when one fails or the caller is cancelled, the others are cancelled too."""
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        # None may stay in this frame: an error's traceback holds it, and the task holds the error.
        while tasks:
            tasks.pop().cancel()


async def gather_two(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """Two results; when one fails or the caller is cancelled, the other is cancelled too."""
    one, two = await gather(first, second)
    return cast(T, one), cast(U, two)


class KeyLocks(Generic[Key]):
    """Lets those that share a key follow one another, in the order they came, and others go side by side."""

    def __init__(self) -> None:
        self._held: list[tuple[frozenset[Key], asyncio.Event]] = []

    @contextlib.asynccontextmanager
    async def hold(self, keys: Iterable[Key]) -> AsyncIterator[None]:
        """Waits for all who came earlier with one of these keys, and holds the keys while inside."""
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
