"""The checker of histories tells those that can be explained from those that cannot."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from faults import linear
from faults.linear import Op, TooHard, linearizable, unexplained

NEVER = math.inf


def put(begin, end, value):
    return Op(begin, end, value)


def delete(begin, end):
    return Op(begin, end, None)


def get(begin, end, value):
    return Op(begin, end, value, read=True)


EXPLAINED = {
    "nothing": [],
    "a read of what was written": [put(0, 1, "a"), get(2, 3, "a")],
    "a read meanwhile sees the old": [put(0, 1, "a"), put(2, 5, "b"), get(3, 4, "a"), get(6, 7, "b")],
    "a read meanwhile sees the new": [put(0, 1, "a"), put(2, 5, "b"), get(3, 4, "b")],
    "two writes at once, either last": [put(0, 4, "a"), put(1, 3, "b"), get(5, 6, "a"), get(7, 8, "a")],
    "deleted": [put(0, 1, "a"), delete(2, 3), get(4, 5, None)],
    "a lost answer took effect late": [put(0, 1, "a"), put(2, NEVER, "b"), get(3, 4, "a"), get(9, 10, "b")],
    "a lost answer never took effect": [put(0, 1, "a"), put(2, NEVER, "b"), get(3, 4, "a"), get(9, 10, "a")],
    "a lost delete took effect late": [put(0, 1, "a"), delete(2, NEVER), get(3, 4, "a"), get(9, 10, None)],
    "an insert of what is there": [
        put(0, 1, "a"),
        Op(2, 3, change=lambda state: state or "b"),
        get(4, 5, "a"),
    ],
}
UNEXPLAINED = {
    "a lost update": [put(0, 1, "a"), put(2, 3, "b"), get(4, 5, "a")],
    "a lost first write": [put(0, 1, "a"), get(2, 3, None)],
    "a value from nowhere": [put(0, 1, "a"), get(2, 3, "z")],
    "a deleted point that is back": [put(0, 1, "a"), delete(2, 3), get(4, 5, "a")],
    "new, then old again": [put(0, 1, "a"), put(2, 9, "b"), get(3, 4, "b"), get(5, 6, "a")],
    "a lost answer, there and away again": [
        put(0, 1, "a"),
        put(2, NEVER, "b"),
        get(3, 4, "b"),
        get(5, 6, "a"),
    ],
    "a write seen before it began": [get(0, 1, "a"), put(2, 3, "a")],
    "two writes at once, and both last": [
        put(0, 4, "a"),
        put(1, 3, "b"),
        get(5, 6, "a"),
        get(7, 8, "b"),
    ],
    "an insert that overwrote": [put(0, 1, "a"), Op(2, 3, change=lambda state: state or "b"), get(4, 5, "b")],
}


@pytest.mark.parametrize("history", EXPLAINED.values(), ids=EXPLAINED)
def test_what_can_be_explained_passes(history):
    assert linearizable(history)
    assert linearizable(reversed(history))


@pytest.mark.parametrize("history", UNEXPLAINED.values(), ids=UNEXPLAINED)
def test_what_cannot_be_explained_does_not(history):
    assert not linearizable(history)
    assert unexplained({"bad": history, "good": EXPLAINED["deleted"]}) == ["bad"]


def by_every_order(history) -> bool:
    """The same by trying all orders."""
    certain = [op for op in history if op.end < NEVER]
    unsure = [op for op in history if op.end == NEVER]
    for size in range(len(unsure) + 1):
        for some in itertools.combinations(unsure, size):
            for order in itertools.permutations([*certain, *some]):
                if any(b.end < a.begin for a, b in itertools.combinations(order, 2)):
                    continue
                state, good = None, True
                for op in order:
                    good = good and (not op.read or op.value == state)
                    state = state if op.read else op.value
                if good:
                    return True
    return False


def test_it_agrees_with_trying_every_order():
    seen = set()
    for seed in range(400):
        chance = random.Random(seed)
        history = []
        for n in range(6):
            begin = chance.uniform(0, 6)
            end = NEVER if chance.random() < 0.2 else begin + chance.uniform(0.1, 3)
            kind = chance.choice([put, put, get, get, get, delete])
            if kind is get:
                history.append(get(begin, begin + 1, chance.choice(["v0", "v1", "v2", None])))
            else:
                history.append(put(begin, end, f"v{n}") if kind is put else delete(begin, end))
        seen.add(by_every_order(history))
        assert linearizable(history) is by_every_order(history), seed
    assert seen == {True, False}


def test_a_long_history_of_several_callers_is_checked_and_one_stale_read_in_it_is_found():
    chance, state, now, history = random.Random(1), None, 0.0, []
    for n in range(2_000):
        now += chance.uniform(0, 1)
        begin, end = now - chance.uniform(0, 3), now + chance.uniform(0, 3)
        if n % 3:
            history.append(get(begin, end, state))
        else:
            state = n
            history.append(put(begin, end, state))
    assert linearizable(history)
    history.append(get(now + 10, now + 11, 3))
    assert not linearizable(history)


def test_a_search_that_takes_too_long_is_told_and_is_no_pass(monkeypatch):
    monkeypatch.setattr(linear, "MOST_STEPS", 10)
    at_once = [put(0, 100, n) for n in range(12)]
    with pytest.raises(TooHard):
        linearizable([*at_once, get(101, 102, "z")])
