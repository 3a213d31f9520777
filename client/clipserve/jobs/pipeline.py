"""A few pieces of work under way at a time, their results in order."""

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
    """Each item with its result, in the order of the items, at most `width` of them under way or unread.

    Items are drawn in the caller's thread, and only when there is room. A single item is worked on in the
    caller's thread too. `cancel` is called when any work fails, or the iteration ends early; it must make
    running work end. What failed first is raised.
    """
    first, second = next(items, None), next(items, None)
    if first is None:
        return
    if second is None:
        yield first, work(first)
        return
    failures: list[BaseException] = []

    def watched(item: T) -> R:
        try:
            return work(item)
        except BaseException as error:
            failures.append(error)
            cancel()
            raise

    under_way: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(width, thread_name_prefix="clipserve")

    def oldest() -> tuple[T, R]:
        item, future = under_way.popleft()
        error = future.exception()
        if error is not None:
            raise failures[0] from failures[0].__cause__
        return item, future.result()

    try:
        under_way.append((first, pool.submit(watched, first)))
        item: T | None = second
        while item is not None:
            if len(under_way) >= width:
                yield oldest()
            under_way.append((item, pool.submit(watched, item)))
            item = next(items, None)
        while under_way:
            yield oldest()
    except BaseException:
        cancel()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
