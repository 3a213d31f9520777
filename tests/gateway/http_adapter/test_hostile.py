"""Bad input of every kind, over HTTP: each case ends as over gRPC, and disturbs nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import grpc
import pytest
import pytest_asyncio
from clipserve_gateway.http_adapter.app import api_app
from clipserve_gateway.http_server.server import WebServer, listen
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings

from testing.fakes import FakeBackend
from testing.hostile.blind import ColorBlind
from testing.hostile.cases import Call
from testing.hostile.checks import call_faults
from testing.hostile.corpus import families
from testing.hostile.sending import OPTIONS
from testing.hostile.wire import DEEP, DENSE, wire
from testing.hostile.world import World, build
from testing.http_bridge import HttpBridge

FAMILIES = families(nth=25)
# Streams are taken apart before they go over HTTP.
FAMILIES |= {
    "bytes on the wire": lambda world: call_faults(world, unary(wire(world.dim))),
    "messages in each other": lambda world: call_faults(world, unary(DEEP)),
    "messages of many parts": lambda world: call_faults(world, unary(DENSE)),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
]


def unary(cases: Iterable[Call]) -> list[Call]:
    return [case for case in cases if not case.method.endswith("Stream")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["json", "proto"])
async def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    settings = Settings(port=0, http_port=0, data=str(tmp_path_factory.mktemp("hostile")))
    gateway = Gateway(settings, FakeBackend(encoder=ColorBlind()))
    await gateway.start()
    await gateway.models.refresh()
    server = WebServer(api_app(gateway.parts, settings), listen("127.0.0.1", 0))
    await server.start()
    bridge = HttpBridge(f"http://127.0.0.1:{server.port}", json=request.param == "json")
    async with grpc.aio.insecure_channel(bridge.address, options=OPTIONS) as channel:
        yield await build(channel)
    bridge.stop()
    await server.stop(1)
    await gateway.stop(drain_seconds=0, grace_seconds=1)


@pytest.mark.parametrize("family", FAMILIES)
async def test_every_case_ends_as_over_grpc(world: World, family: str) -> None:
    assert await FAMILIES[family](world) == []


async def test_after_all_that_nothing_has_changed(world: World) -> None:
    assert await world.kept_fault() == ""
    outcome = await world.embed([])
    assert world.neighbors_fault(outcome.responses[0].results) == ""
