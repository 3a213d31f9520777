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
    caller's thread too. `cancel` is called when the iteration ends early; it must make running work end.
    """
    first, second = next(items, None), next(items, None)
    if first is None:
        return
    if second is None:
        yield first, work(first)
        return
    under_way: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(width, thread_name_prefix="clipserve")
    try:
        under_way.append((first, pool.submit(work, first)))
        item: T | None = second
        while item is not None:
            if len(under_way) >= width:
                yield settled(under_way)
            under_way.append((item, pool.submit(work, item)))
            item = next(items, None)
        while under_way:
            yield settled(under_way)
    except BaseException:
        cancel()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def settled(under_way: deque[tuple[T, Future[R]]]) -> tuple[T, R]:
    """The oldest item and its result; raises what its work raised."""
    item, future = under_way.popleft()
    return item, future.result()
