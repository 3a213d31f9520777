from __future__ import annotations

import asyncio

import pytest
from clipserve_gateway.servicers.ordered_stream import in_order


async def source(items, read):
    for item in items:
        read.append(item)
        yield item


async def test_answers_keep_the_order_of_the_requests():
    async def answer(item):
        await asyncio.sleep(0.02 if item % 2 else 0)
        return item * 10

    responses = [response async for response in in_order(source(range(9), []), answer, window=4)]
    assert responses == [item * 10 for item in range(9)]


async def test_no_more_than_the_window_is_read_ahead():
    read, gate = [], asyncio.Event()

    async def answer(item):
        await gate.wait()
        return item

    responses = in_order(source(range(100), read), answer, window=3)
    first = asyncio.ensure_future(responses.__anext__())
    await asyncio.sleep(0.05)
    assert len(read) == 3
    gate.set()
    assert await first == 0
    assert len(read) <= 4
    await responses.aclose()


async def test_closing_cancels_what_is_under_way():
    ended = []

    async def answer(item):
        try:
            await asyncio.sleep(0 if item == 0 else 30)
        except asyncio.CancelledError:
            ended.append(item)
            raise
        return item

    responses = in_order(source(range(10), []), answer, window=4)
    assert await responses.__anext__() == 0
    await asyncio.sleep(0.01)
    await responses.aclose()
    await asyncio.sleep(0.01)
    assert ended
    assert 0 not in ended


async def test_a_failure_ends_the_stream_with_its_error():
    async def answer(item):
        if item == 2:
            raise ValueError("two")
        return item

    responses = in_order(source(range(5), []), answer, window=2)
    assert [await responses.__anext__(), await responses.__anext__()] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        await responses.__anext__()


async def test_an_empty_stream_has_no_answers():
    async def answer(item):
        return item

    assert [response async for response in in_order(source([], []), answer, window=2)] == []
