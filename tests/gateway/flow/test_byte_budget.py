"""The byte budget: never above its room but where it must be, never negative, and nobody starves."""

from __future__ import annotations

import asyncio
import random

import pytest
from clipserve_gateway.errors import Overloaded
from clipserve_gateway.flow.byte_budget import SMALL_BYTES, ByteBudget, Hold
from clipserve_gateway.flow.deadline import Deadline

MIB = 1 << 20
LATER = Deadline.after(3600)


async def settled() -> None:
    """Lets everybody who can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_fits_is_held_at_once_and_given_back():
    reported: list[float] = []
    budget = ByteBudget(64 * MIB, reported.append)
    hold = await budget.hold(10 * MIB, "a", LATER)
    assert budget.used == 10 * MIB
    hold.resize(5 * MIB)
    assert budget.used == 5 * MIB
    hold.release()
    hold.release()
    hold.resize(MIB)
    assert budget.used == 0
    assert reported == [10 * MIB, 5 * MIB, 0]


async def test_small_holds_do_not_wait_behind_large_ones():
    budget = ByteBudget(64 * MIB)
    await budget.hold(56 * MIB, "a", LATER)
    waiting = asyncio.ensure_future(budget.hold(2 * MIB, "b", LATER))
    await settled()
    assert not waiting.done()
    small = await asyncio.wait_for(budget.hold(MIB, "b", LATER), 1)
    assert small.size == MIB
    waiting.cancel()


async def test_who_waits_too_long_is_told_when_to_come_again():
    budget = ByteBudget(64 * MIB)
    await budget.hold(56 * MIB, "a", LATER)
    with pytest.raises(Overloaded) as refused:
        await budget.hold(2 * MIB, "b", Deadline.after(0.01))
    assert refused.value.metadata == {"limit": "held_bytes"}
    assert not budget.wanted(large=True)


async def test_a_hold_larger_than_the_room_has_it_alone():
    budget = ByteBudget(16 * MIB)
    first = await budget.hold(100 * MIB, "a", LATER)
    assert first.size == 14 * MIB
    second = asyncio.ensure_future(budget.hold(100 * MIB, "b", LATER))
    await settled()
    assert not second.done()
    first.release()
    assert (await second).size == 14 * MIB


async def test_owners_take_turns_and_none_has_more_than_half():
    budget = ByteBudget(64 * MIB)
    other = await budget.hold(2 * MIB, "other", LATER)
    greedy = [asyncio.ensure_future(budget.hold(13 * MIB, "greedy", LATER)) for _ in range(20)]
    await settled()
    assert sum(it.done() for it in greedy) == 2
    modest = asyncio.ensure_future(budget.hold(20 * MIB, "modest", LATER))
    await settled()
    assert modest.done(), "there is room that the greedy one may not have"
    other.release()
    for it in greedy:
        it.cancel()


async def test_messages_that_are_all_received_do_not_block_each_other():
    """All room is taken by messages that must grow before they can be worked on: one of them may."""
    budget = ByteBudget(64 * MIB)
    holds = [await budget.hold(14 * MIB, str(n), LATER) for n in range(4)]
    growing = [asyncio.ensure_future(hold.grow(42 * MIB, LATER)) for hold in holds]
    for served in range(4):
        await settled()
        assert [it.done() for it in growing] == [n <= served for n in range(4)]
        assert budget.used <= (56 + 28) * MIB
        holds[served].release()
    assert budget.used == 0


async def test_who_gives_up_while_growing_leaves_the_line():
    budget = ByteBudget(64 * MIB)
    holds = [await budget.hold(14 * MIB, str(n), LATER) for n in range(4)]
    await holds[0].grow(42 * MIB, LATER)
    with pytest.raises(Overloaded):
        await holds[1].grow(42 * MIB, Deadline.after(0.01))
    third = asyncio.ensure_future(holds[2].grow(42 * MIB, LATER))
    await settled()
    third.cancel()
    await settled()
    for hold in holds:
        hold.release()
    assert budget.used == 0
    assert not budget.wanted(large=True)


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_done_the_sum_holds_and_everybody_is_served(seed):
    """Callers of many sizes take room, wait, grow, give up and leave, in random order."""
    chance = random.Random(seed)
    budget = ByteBudget(chance.choice((16, 64, 256)) * MIB)
    largest = budget.room * 7 // 8
    served, inside = 0, set[Hold]()

    def check() -> None:
        # Those who were let in a moment ago may not know it yet.
        assert budget.used >= sum(hold.size for hold in inside)
        # One that grows may go beyond the room, and small ones that grow are not kept waiting.
        assert budget.used <= budget.room + largest + 200 * SMALL_BYTES

    async def caller(number: int) -> None:
        nonlocal served
        size = chance.choice((1, 1000, SMALL_BYTES, 2 * SMALL_BYTES, largest // 3, largest, 2 * largest))
        hold = await budget.hold(size, f"owner {number % 3}", LATER)
        inside.add(hold)
        try:
            check()
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
                hold.resize(chance.randint(0, hold.size))
                check()
            await hold.grow(min(largest, 3 * hold.size), LATER)
            check()
            await asyncio.sleep(0)
            served += 1
        finally:
            inside.discard(hold)
            hold.release()
            check()

    callers = [asyncio.ensure_future(caller(number)) for number in range(200)]
    given_up = chance.sample(range(200), 40)
    for number in given_up:
        await asyncio.sleep(0)
        callers[number].cancel()
    results = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 30)
    assert [it for it in results if it is not None and not isinstance(it, asyncio.CancelledError)] == []
    assert served >= 160
    assert budget.used == 0
    assert not any(budget.wanted(large=large) for large in (True, False))


@pytest.mark.parametrize(("seconds", "error"), [(0.01, Overloaded), (60, asyncio.CancelledError)])
async def test_a_wait_that_is_cancelled_at_its_deadline_says_that_it_had_no_room(
    seconds: float, error: type[BaseException]
):
    budget = ByteBudget(64 * MIB)
    await budget.hold(56 * MIB, "a", LATER)
    deadline = Deadline.after(seconds)
    waiting = asyncio.ensure_future(budget.hold(8 * MIB, "b", deadline))
    await settled()
    while seconds < 1 and deadline.remaining() > 0:
        pass
    waiting.cancel()
    with pytest.raises(error):
        await waiting
    assert not budget.wanted(large=True)
