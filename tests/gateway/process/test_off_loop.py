"""Only work on large messages leaves the event loop, and the loop's lag is measured."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import grpc
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc, common_pb2
from clipserve_gateway.calls import transport
from clipserve_gateway.convert.payload import payload_steps
from clipserve_gateway.grpc_adapter.server import TAKEN_AT_ONCE
from clipserve_gateway.process import loop_lag
from clipserve_gateway.process.loop_lag import LoopWatch
from clipserve_gateway.process.off_loop import BYTES_ON_LOOP, STEPS_ON_LOOP, off_loop
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings

from testing.callbacks import Callback, watching
from testing.fakes import DIM, FakeBackend
from testing.hostile.sending import METHODS
from testing.largest import largest, payload

CALLS, BLOCKED = TAKEN_AT_ONCE // 2, 0.4


async def test_only_much_work_goes_to_a_thread() -> None:
    here = threading.current_thread()
    assert await off_loop(STEPS_ON_LOOP, threading.current_thread) is here
    assert await off_loop(STEPS_ON_LOOP + 1, threading.current_thread) is not here


async def test_large_messages_are_parsed_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    parse = transport.parse_message

    def noted(*args: object, **options: object) -> object:
        threads.append(threading.current_thread())
        return parse(*args, **options)

    monkeypatch.setattr(transport, "parse_message", noted)
    gateway = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend())
    await gateway.start()
    await gateway.models.refresh()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        stub = clip_pb2_grpc.ClipServiceStub(channel)
        for size in (100, BYTES_ON_LOOP + 1):
            inputs = [clip_pb2.EmbedInput(image=common_pb2.Image(content=bytes(size)))]
            await stub.Embed(clip_pb2.EmbedRequest(inputs=inputs))
    await gateway.stop(drain_seconds=0, grace_seconds=1)
    assert [thread is threading.current_thread() for thread in threads] == [True, False]


def test_payloads_are_weighed_by_their_values() -> None:
    assert payload_steps([{"a": 1, "b": "x" * 1_000, "c": ["t"] * 70}]) == 1 + 4 + 70
    assert payload_steps([{}] * 1_000) > STEPS_ON_LOOP
    assert len(payload(0)) == 64


def test_every_rpc_has_a_largest_request() -> None:
    assert {message.method for message in largest(DIM)} == set(METHODS)


async def test_a_callback_that_holds_the_loop_is_recorded_by_its_processor_time() -> None:
    slow: list[Callback] = []

    async def hold() -> None:
        until = time.thread_time() + 0.03
        while time.thread_time() < until:
            pass

    async def wait() -> None:
        time.sleep(0.05)

    with watching(slow.append, 0.02):
        await asyncio.gather(hold(), wait())
    assert len(slow) == 1
    assert slow[0].seconds >= 0.03
    assert slow[0].what.endswith("hold")


async def test_the_loops_lag_is_told() -> None:
    lags: list[float] = []
    watcher = asyncio.create_task(LoopWatch(lags.append).watch())
    await asyncio.sleep(0)
    time.sleep(0.4)
    while not lags:
        await asyncio.sleep(0.01)
    watcher.cancel()
    assert lags[0] >= 0.1


async def test_a_full_loop_is_saturated_and_an_idle_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(loop_lag, "MEMORY_SECONDS", 0.1)
    looks: list[float] = []
    watch = LoopWatch(looks.append)
    assert watch.saturation() == 0
    watcher = asyncio.create_task(watch.watch())
    while watch.saturation() < 0.9:
        # Much work in small pieces: timers are on time, but the loop is full.
        time.sleep(0.001)
        await asyncio.sleep(0)
    while watch.saturation() > 0.1:
        await asyncio.sleep(0.01)
    time.sleep(1)
    assert watch.saturation() > 0.9, "also while the loop is blocked"
    watcher.cancel()


async def test_two_watches_of_one_loop_do_not_disturb_each_other() -> None:
    loop = asyncio.get_running_loop()
    waits = loop_lag.LoopWaits.of(loop)
    assert loop_lag.LoopWaits.of(loop) is waits
    idle = waits.idle
    await asyncio.sleep(0.02)
    assert waits.idle >= idle + 0.01


async def test_the_time_of_a_call_begins_when_it_arrives_not_when_the_loop_comes_to_it(
    tmp_path: Path,
) -> None:
    gateway = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend())
    await gateway.start()
    await gateway.begun()

    connected, blocked, sent = threading.Event(), threading.Event(), threading.Event()

    def calls() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
            info = clip_pb2_grpc.ClipServiceStub(channel).GetServerInfo
            info(clip_pb2.GetServerInfoRequest(), wait_for_ready=True)
            connected.set()
            blocked.wait()
            waiting = [info.future(clip_pb2.GetServerInfoRequest()) for _ in range(CALLS)]
            # The calls wait in gRPC while the gateway's loop is blocked.
            time.sleep(BLOCKED)
            sent.set()
            for call in waiting:
                call.result()

    calling = asyncio.create_task(asyncio.to_thread(calls))
    while not connected.is_set():
        await asyncio.sleep(0.001)
    blocked.set()
    sent.wait()
    await calling

    def measured(name: str) -> float:
        labels = {"method": "GetServerInfo", "model": ""}
        return gateway.metrics.registry.get_sample_value(f"clipserve_request_seconds_{name}", labels) or 0.0

    while measured("count") < CALLS + 1:
        await asyncio.sleep(0.01)
    seconds = measured("sum")
    await gateway.stop(drain_seconds=0, grace_seconds=1)
    assert seconds > 0.8 * CALLS * BLOCKED / 2, "they came at some time while the loop stood still"
