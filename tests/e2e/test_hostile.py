"""Bad input of every kind against the real service: the same cases as around a fake encoder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from testing.hostile.corpus import families
from testing.hostile.sending import OPTIONS
from testing.hostile.world import World, build
from testing.service import Service

FAMILIES = families()

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(live: Service) -> AsyncIterator[World]:
    async with grpc.aio.insecure_channel(live.address, options=OPTIONS) as channel:
        yield await build(channel)


@pytest.mark.parametrize("family", FAMILIES)
async def test_every_case_ends_as_promised(world: World, family: str) -> None:
    assert await FAMILIES[family](world) == []


async def test_after_all_that_nothing_has_changed(world: World, live: Service) -> None:
    assert await world.kept_fault() == ""
    outcome = await world.embed([])
    assert world.neighbors_fault(outcome.responses[0].results) == ""
    assert live.process.poll() is None
    assert "Traceback" not in live.words
