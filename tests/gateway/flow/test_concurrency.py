from __future__ import annotations

import asyncio

import pytest
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.flow.concurrency import KeyLocks, gather, gather_two


async def value(result, delay=0.0):
    await asyncio.sleep(delay)
    return result


async def test_results_come_in_order_whatever_ends_first():
    assert await gather(value(1, 0.02), value(2), value(3, 0.01)) == [1, 2, 3]
    assert await gather_two(value("a", 0.01), value(2)) == ("a", 2)


async def test_one_failure_cancels_the_others():
    ended = []

    async def slow():
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(True)

    async def bad():
        await asyncio.sleep(0)
        raise InvalidInput("bad")

    with pytest.raises(InvalidInput):
        await gather(slow(), bad(), slow())
    await asyncio.sleep(0)
    assert ended == [True, True]


async def test_those_that_share_a_key_go_one_after_another_and_others_side_by_side():
    locks, order, go_on = KeyLocks(), [], asyncio.Event()

    async def work(name, keys, wait):
        async with locks.hold(keys):
            order.append(name)
            if wait:
                await go_on.wait()

    calls = [("first", "ab", True), ("second", "bc", False), ("apart", "d", False), ("third", "c", False)]
    tasks = [asyncio.ensure_future(work(*call)) for call in calls]
    await asyncio.sleep(0.01)
    assert order == ["first", "apart"]
    go_on.set()
    await asyncio.gather(*tasks)
    assert order == ["first", "apart", "second", "third"]


async def test_a_turn_that_is_cancelled_or_fails_lets_the_next_one_go():
    locks, done = KeyLocks(), []

    async def fail():
        async with locks.hold("a"):
            await asyncio.sleep(0.01)
            raise InvalidInput("bad")

    async def work(name):
        async with locks.hold("a"):
            done.append(name)

    failing = asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    waiting, last = asyncio.ensure_future(work("waiting")), asyncio.ensure_future(work("last"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(InvalidInput):
        await failing
    await last
    assert done == ["last"]
