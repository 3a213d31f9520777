"""The fuzzer finds what it looks for, says nothing where there is nothing, and can do it again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import grpc
import pytest
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings

from testing.fakes import FakeBackend, FakeEncoder
from testing.hostile.blind import ColorBlind
from testing.hostile.sending import Outcome

# Pillow's warnings about odd files: the server ignores them.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Callable[[FakeEncoder], object]]:
    """Starts a gateway around an encoder; its address."""
    gateways: list[Gateway] = []

    async def start(encoder: FakeEncoder) -> str:
        data = str(tmp_path / f"data-{len(gateways)}")
        gateway = Gateway(Settings(port=0, http_port=0, data=data), FakeBackend(encoder=encoder))
        gateways.append(gateway)
        await gateway.start()
        await gateway.models.refresh()
        return f"127.0.0.1:{gateway.port}"

    yield start
    for gateway in gateways:
        await gateway.stop(drain_seconds=0, grace_seconds=1)


async def fuzz(*words: object) -> tuple[int, str]:
    """Runs the command; its exit code, and all it said."""
    command = [sys.executable, "-m", "bench.fuzz", *map(str, words)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_a_sound_gateway_keeps_every_promise(serving, tmp_path):
    options = ("--target", await serving(ColorBlind()), "--pid", os.getpid(), "--keep", tmp_path / "kept")
    code, said = await fuzz("--cases", 600, "--seed", 5, *options)
    assert code == 0, said
    assert "pass  every promise was kept" in said
    assert "answered" in said
    assert "IMAGE_UNREADABLE" in said
    assert "at most" in said
    assert not list((tmp_path).glob("kept*"))


async def test_open_calls_end_as_promised(serving):
    from bench.fuzz.open import open_call, open_fault, send_open

    found, codes = [], set()
    async with grpc.aio.insecure_channel(await serving(ColorBlind())) as channel:
        for number in range(120):
            method, data, compressed = open_call(Random(number))
            outcome = await send_open(channel, method, data, compressed=compressed, timeout=30)
            found += [open_fault(data, compressed, outcome)]
            codes.add(outcome.code)
    assert [it for it in found if it] == []
    assert codes == {"OK", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "NOT_FOUND"}


def test_an_open_call_that_takes_a_long_request_is_found_out():
    from bench.fuzz.open import open_fault

    assert "not refused" in open_fault(bytes(1025), False, Outcome("OK"))
    assert "ended with UNKNOWN" in open_fault(b"", True, Outcome("UNKNOWN"))
    assert open_fault(bytes(1025), True, Outcome("UNIMPLEMENTED")) == ""


async def test_a_token_for_a_few_names_learns_nothing_of_others(tmp_path):
    from bench.fuzz.scoped import fuzz_scoped, prepare, token_lines

    lines, tokens = token_lines()
    (tmp_path / "tokens").write_text("\n".join(lines))
    settings = Settings(port=0, http_port=0, data=str(tmp_path / "data"), token_file=str(tmp_path / "tokens"))
    gateway = Gateway(settings, FakeBackend(encoder=ColorBlind()))
    await gateway.start()
    await gateway.models.refresh()
    address = f"127.0.0.1:{gateway.port}"
    dim = await asyncio.to_thread(prepare, address, tokens["ops"])
    report = await fuzz_scoped(address, tokens["shop"], dim, 400, seed=5, callers=8)
    assert report.findings == []
    assert report.outcomes["PERMISSION_DENIED"] > 100
    # A token that may see all is told the difference, so the check can fail.
    seen = await fuzz_scoped(address, tokens["ops"], dim, 100, seed=5, callers=8)
    assert [it for it in seen.findings if "tells whether a name exists" in it]
    await gateway.stop(drain_seconds=0, grace_seconds=1)


async def test_a_broken_one_is_found_out_and_the_call_can_be_sent_again(serving, tmp_path):
    broken = await serving(ColorBlind(reject=lambda row: row.ndim == 1 and len(row) > 20))
    options = ("--kind", "texts", "--keep", tmp_path / "kept")
    code, said = await fuzz("--cases", 200, "--seed", 5, "--target", broken, *options)
    assert code == 1
    assert "an item ended with INTERNAL" in said
    [finding, *_] = sorted((tmp_path / "kept").iterdir())
    assert f"replay {finding}" in said
    assert (await fuzz("replay", finding, "--target", broken))[0] == 1
    assert (await fuzz("replay", finding, "--target", await serving(ColorBlind())))[0] == 0


def test_calls_are_the_same_for_the_same_seed():
    from bench.fuzz.calls import KINDS, Plans

    one, same, other = (Plans(seed, 8, list(KINDS)) for seed in (1, 1, 2))
    assert [one.make(i) for i in range(40)] == [same.make(i) for i in range(40)]
    assert one.make(0) != other.make(0)
    assert {one.make(i).kind for i in range(200)} == set(KINDS)
