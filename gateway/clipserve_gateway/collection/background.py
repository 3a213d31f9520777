"""Background tasks of one object, at most one per key, which end with the object."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any


class BackgroundTasks:
    """Running tasks by key."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Task[None]] = {}

    def start(self, key: str, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Starts `work` as a task named `name`, unless a task with this key is running."""
        if key not in self.running:
            task = self.running[key] = asyncio.create_task(work(), name=name)
            task.add_done_callback(lambda _: self.running.pop(key, None))

    async def close(self) -> None:
        """Cancels all tasks and waits for their end."""
        await cancel(list(self.running.values()))


async def cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
