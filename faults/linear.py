"""Whether a history of one key is linearizable: whether some order of its operations explains what was read.

Each operation takes effect at one moment between its begin and its end. The search is Wing and Gong's,
with the memory of states that Lowe added: it tries the operations that may come next, and remembers which
sets of done operations led to which state.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

State = Hashable
"""What is under a key; None for nothing."""
MOST_STEPS = 2_000_000


class TooHard(Exception):
    """The search was given up: nothing is known of this history."""


@dataclass(frozen=True)
class Op:
    """An operation on a key.

    Attributes:
        begin: when it was sent, by any clock that all operations share.
        end: when it was acknowledged; infinity if it was not: it may take effect at any time, or never.
        value: what a read answered, or what a write leaves.
        read: whether it reads.
        change: for a write that depends on the state: the state after it.
    """

    begin: float
    end: float
    value: State = None
    read: bool = False
    change: Callable[[State], State] | None = None

    def after(self, state: State) -> State:
        """The state once a write is done."""
        return self.value if self.change is None else self.change(state)


def linearizable(history: Iterable[Op], initial: State = None) -> bool:
    """Whether the operations of one key can be explained; TooHard."""
    ops = needed(history)
    certain = sum(1 << i for i, op in enumerate(ops) if op.end < math.inf)
    seen: set[tuple[int, State]] = set()
    stack: list[tuple[int, int, State]] = [(0, 0, initial)]
    while stack:
        first, done, state = stack.pop()
        while done >> first & 1:
            first += 1
        if done & certain == certain:
            return True
        if len(seen) > MOST_STEPS:
            raise TooHard(f"{len(ops)} operations, {len(seen):,} states looked at")
        for i in candidates(ops, first, done):
            op = ops[i]
            if op.read and op.value != state:
                continue
            step = (done | 1 << i, state if op.read else op.after(state))
            if step not in seen:
                seen.add(step)
                stack.append((first, *step))
    return False


def needed(history: Iterable[Op]) -> list[Op]:
    """The operations by their begin, without those that explain nothing.

    A write that was not acknowledged and whose value nobody read may as well not have happened.
    """
    ops = sorted(history, key=lambda op: op.begin)
    read = {op.value for op in ops if op.read}
    return [
        op
        for op in ops
        if op.end < math.inf
        or (not op.read and (op.value is None or op.change is not None or op.value in read))
    ]


def candidates(ops: list[Op], first: int, done: int) -> list[int]:
    """Operations that may take effect next: none that is left has ended before they began."""
    found: list[int] = []
    earliest = math.inf
    for i in range(first, len(ops)):
        if ops[i].begin > earliest:
            break
        if not done >> i & 1:
            earliest = min(earliest, ops[i].end)
            found.append(i)
    # The last one is tried first: those that end early ought to be.
    return sorted((i for i in found if ops[i].begin <= earliest), key=lambda i: -ops[i].end)


def unexplained(histories: Mapping[str, Iterable[Op]]) -> list[str]:
    """Keys whose history no order explains."""
    return [key for key, history in histories.items() if not linearizable(history)]


class History:
    """Operations of many keys, from many threads."""

    def __init__(self) -> None:
        self._ops: dict[str, list[Op]] = defaultdict(list)

    def add(self, key: str, op: Op) -> None:
        """Notes an operation."""
        self._ops[key].append(op)

    @property
    def keys(self) -> dict[str, list[Op]]:
        """The operations of each key."""
        return dict(self._ops)

    def count(self, *, read: bool) -> int:
        """Acknowledged reads or writes."""
        return sum(op.read is read and op.end < math.inf for ops in self._ops.values() for op in ops)
