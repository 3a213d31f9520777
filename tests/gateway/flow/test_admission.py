"""Admission: bounded by items and bytes, a part for each lane, and refusals that say when to come again."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest
from clipserve_gateway.errors import DeadlineExceeded, InvalidInput, Overloaded
from clipserve_gateway.flow.admission import Admission, Cost, cost_of, lane_of
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Lane, in_lane
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.types import EncodedImage, RawImage


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def admission(metrics) -> Admission:
    return Admission(Cost(100, 1000), 0.1, metrics)


class Guests:
    """Calls that have been let in and stay."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.stack: list[contextlib.ExitStack] = []

    def enter(self, lane: Lane, items: int, size: int = 0) -> None:
        with contextlib.ExitStack() as stack, in_lane(lane):
            stack.enter_context(self.admission.admitted(Cost(items, size)))
            self.stack.append(stack.pop_all())

    def fill(self, lane: Lane, items: int = 1, size: int = 0) -> int:
        """Enters until it is refused; how many got in."""
        number = 0
        with contextlib.suppress(Overloaded):
            while True:
                self.enter(lane, items, size)
                number += 1
        return number

    def leave(self) -> None:
        self.stack.pop().close()


@pytest.fixture
def guests(admission) -> Guests:
    return Guests(admission)


def test_interactive_calls_leave_room_for_bulk(guests):
    assert guests.fill(Lane.INTERACTIVE) == 90
    assert guests.fill(Lane.BULK) == 10


def test_bulk_may_use_what_is_free_up_to_half(guests):
    assert guests.fill(Lane.BULK) == 50
    assert guests.fill(Lane.INTERACTIVE) == 50
    assert guests.fill(Lane.BULK) == 0


def test_bytes_count_as_items_do(guests, metrics):
    assert guests.fill(Lane.INTERACTIVE, items=1, size=300) == 3
    with pytest.raises(Overloaded) as refused:
        guests.enter(Lane.INTERACTIVE, 1, 300)
    assert refused.value.metadata == {"limit": "bytes"}
    assert refused.value.retry_after > 0
    assert metrics.registry.get_sample_value("clipserve_rejected_total", {"reason": "bytes"}) == 2


def test_a_call_larger_than_all_room_goes_when_it_is_alone(guests):
    guests.enter(Lane.INTERACTIVE, 5000, 10**6)
    assert guests.fill(Lane.INTERACTIVE) == 0
    assert guests.fill(Lane.BULK) == 10
    guests.leave()


def test_who_leaves_makes_room_and_the_gauges_tell(guests, admission, metrics):
    guests.fill(Lane.INTERACTIVE)
    assert admission.saturation() == 0.9
    guests.leave()
    guests.enter(Lane.INTERACTIVE, 1)
    sample = metrics.registry.get_sample_value
    assert sample("clipserve_inflight_items", {"lane": "interactive"}) == 90
    while guests.stack:
        guests.leave()
    assert sample("clipserve_inflight_items", {"lane": "interactive"}) == 0
    assert admission.saturation() == 0


async def test_streams_wait_in_order_and_others_do_not_pass_them(guests, admission):
    guests.fill(Lane.INTERACTIVE)
    got: list[int] = []

    async def wait(number: int) -> None:
        async with admission.after_waiting(Cost(2), Deadline.after(5)):
            got.append(number)
            await asyncio.sleep(0.01)

    waiting = [asyncio.create_task(wait(number)) for number in range(3)]
    await asyncio.sleep(0)
    guests.leave()
    assert guests.fill(Lane.INTERACTIVE, 2) == 0
    guests.leave()
    await asyncio.gather(*waiting)
    assert got == [0, 1, 2]


async def test_who_waits_too_long_or_gives_up_holds_nothing(guests, admission):
    guests.fill(Lane.INTERACTIVE)

    async def wait(seconds: float) -> None:
        async with admission.after_waiting(Cost(1), Deadline.after(seconds)):
            pass

    with pytest.raises(DeadlineExceeded):
        await wait(0.01)
    giving_up = asyncio.create_task(wait(5))
    await asyncio.sleep(0)
    giving_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await giving_up
    while guests.stack:
        guests.leave()
    await wait(1)
    assert admission.saturation() == 0


async def test_who_is_cancelled_in_the_moment_it_is_let_in_leaves_again(guests, admission):
    guests.fill(Lane.INTERACTIVE)

    async def wait() -> None:
        async with admission.after_waiting(Cost(1), Deadline.after(5)):
            pass

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    guests.leave()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    while guests.stack:
        guests.leave()
    assert admission.saturation() == 0


def test_inputs_cost_their_bytes():
    inputs = [EncodedImage(b"12345"), RawImage(b"123", 1, 1), "text", InvalidInput("bad"), np.ones(4, "<f4")]
    assert cost_of(inputs) == Cost(5, 5 + 3 + 4 + 16)


def test_lanes_go_by_their_names():
    assert lane_of("") is lane_of("Interactive") is Lane.INTERACTIVE
    assert lane_of("bulk") is Lane.BULK
    with pytest.raises(InvalidInput, match="interactive or bulk"):
        lane_of("urgent")
