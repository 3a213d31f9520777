"""A queue in which callers take turns, so that no caller waits for everything that another has queued."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class RoundRobin(Generic[T]):
    """First in, first out for each caller; callers take turns by surplus round robin.

    A caller whose item costs more than 1 is skipped in as many later rounds.
    """

    def __init__(self) -> None:
        self._turns: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self._debts: dict[Hashable, int] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def callers(self) -> int:
        """Number of callers with items."""
        return len(self._turns)

    def of(self, caller: Hashable) -> Sequence[T]:
        """Returns the items of a caller."""
        return self._turns.get(caller, ())

    def append(self, caller: Hashable, turn: T) -> None:
        """Adds an item behind the caller's others; a new caller comes last."""
        self._turns.setdefault(caller, deque()).append(turn)
        self._size += 1

    def next(self) -> T:
        """Returns the next item. The queue must not be empty."""
        while True:
            caller = next(iter(self._turns))
            debt = self._debts.get(caller, 0)
            if not debt or len(self._turns) == 1:
                return self._turns[caller][0]
            self._debts[caller] = debt - 1
            self._turns.move_to_end(caller)

    def take(self, cost: int) -> None:
        """Removes the item that `next` returned, which costs `cost`."""
        caller = next(iter(self._turns))
        self._turns[caller].popleft()
        self._size -= 1
        self._debts[caller] = self._debts.get(caller, 0) + max(0, cost - 1)
        self._turns.move_to_end(caller)
        self._forget(caller)

    def remove(self, caller: Hashable, turn: T) -> bool:
        """Removes an item; returns whether it was in the queue."""
        turns = self._turns.get(caller, ())
        if turn not in turns:
            return False
        self._turns[caller].remove(turn)
        self._size -= 1
        self._forget(caller)
        return True

    def _forget(self, caller: Hashable) -> None:
        if not self._turns[caller]:
            del self._turns[caller]
            self._debts.pop(caller, None)
