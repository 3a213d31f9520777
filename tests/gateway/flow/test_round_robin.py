"""RoundRobin: callers take turns, by what their turns cost, and none is left out."""

from __future__ import annotations

from clipserve_gateway.flow.round_robin import RoundRobin
from hypothesis import given
from hypothesis import strategies as st


def taken(rounds: RoundRobin[tuple[str, int]]) -> list[tuple[str, int]]:
    found = []
    while len(rounds):
        found.append(rounds.next())
        rounds.take(found[-1][1])
    return found


def test_a_new_caller_waits_for_one_turn_of_each_other() -> None:
    rounds: RoundRobin[tuple[str, int]] = RoundRobin()
    for i in range(100):
        rounds.append("many", (f"many {i}", 1))
    rounds.append("one", ("one", 1))
    assert [name for name, _ in taken(rounds)][:3] == ["many 0", "one", "many 1"]


def test_a_dear_turn_is_paid_by_rounds() -> None:
    rounds: RoundRobin[tuple[str, int]] = RoundRobin()
    for i in range(3):
        rounds.append("dear", (f"dear {i}", 10))
    for i in range(30):
        rounds.append("cheap", (f"cheap {i}", 1))
    names = [name for name, _ in taken(rounds)]
    assert [names.index(f"dear {i}") for i in range(3)] == [0, 11, 22]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50)), max_size=40),
    st.lists(st.integers(0, 39), max_size=10),
)
def test_every_turn_comes_once_and_in_order_of_its_caller(
    turns: list[tuple[str, int]], gone: list[int]
) -> None:
    rounds: RoundRobin[tuple[int, int]] = RoundRobin()
    for i, (caller, cost) in enumerate(turns):
        rounds.append(caller, (i, cost))
    left = {i for i in gone if i < len(turns)}
    for i in left:
        assert rounds.remove(turns[i][0], (i, turns[i][1]))
        assert not rounds.remove(turns[i][0], (i, turns[i][1]))
    found = []
    while len(rounds):
        found.append(rounds.next())
        rounds.take(found[-1][1])
    assert sorted(i for i, _ in found) == [i for i in range(len(turns)) if i not in left]
    for caller in "abc":
        of_caller = [i for i, _ in found if turns[i][0] == caller]
        assert of_caller == sorted(of_caller)
    assert rounds.callers == 0
