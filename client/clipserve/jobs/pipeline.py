"""Runs work concurrently and returns the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    items: Iterator[T], work: Callable[[T], R], *, width: int, cancel: Callable[[], None]
) -> Generator[tuple[T, R], None, None]:
    """Yields each item with its result, in order, with at most `width` items running or unread.

    Items are read in the caller's thread, only when one can run. A single item also runs in the caller's
    thread. `cancel` must stop the running work; it is called when work fails or the iteration ends early. The
    first failure is raised.
    """
    first, second = next(items, None), next(items, None)
    if first is None:
        return
    if second is None:
        yield first, work(first)
        return
    failures: list[BaseException] = []

    def run(item: T) -> R:
        try:
            return work(item)
        except BaseException as error:
            failures.append(error)
            cancel()
            raise

    running: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(width, thread_name_prefix="clipserve")

    def oldest() -> tuple[T, R]:
        item, future = running.popleft()
        error = future.exception()
        if error is not None:
            raise failures[0] from failures[0].__cause__
        return item, future.result()

    try:
        running.append((first, pool.submit(run, first)))
        item: T | None = second
        while item is not None:
            if len(running) >= width:
                yield oldest()
            running.append((item, pool.submit(run, item)))
            item = next(items, None)
        while running:
            yield oldest()
    except BaseException:
        cancel()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
