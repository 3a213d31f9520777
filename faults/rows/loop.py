"""Requests that keep the event loop, or the threads that decode, from other callers."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from clipserve.v1 import clip_pb2, clip_pb2_grpc, common_pb2
from clipserve_exporter.config import Serving
from clipserve_gateway.process.cores import available_cores
from PIL import Image

from faults.fault_env import FaultEnv
from faults.flows import Flow
from faults.row import Promise, at_least, at_most, only, row
from faults.watch import MIB, Watch, metric, wait_until
from testing.callbacks import Callback
from testing.hostile.bombs import bound
from testing.hostile.sending import METHODS
from testing.largest import Answered, answers

SERVING = Serving(image_batch=64, text_batch=256)
LONGEST = 0.1
"""Seconds of the loop's processor time that one callback may take."""
SIDE = 8_000
"""Pixels to a side of a large picture: as many in all as are accepted."""
FLOOD, OTHERS = 256, 5
FLOOD_SECONDS = 30.0


@row("loop-watchdog")
def loop_watchdog(env: FaultEnv) -> Iterator[Promise]:
    """Each RPC gets the largest request that its limits allow; the loop's callbacks are timed meanwhile."""
    log = env.subfolder("callbacks") / "callbacks.jsonl"
    log.touch()
    model = env.model(serving=SERVING)
    gateway = env.gateway(env.triton(model.repository).address, callbacks=log)
    called = asyncio.run(answers(gateway.address))
    callbacks = [Callback(*json.loads(line)) for line in log.read_text().splitlines()]
    yield at_least("RPCs called", len({it.method for it in called}), len(METHODS))
    wrong = [f"{it.method}: {it.code} {it.message[:80]}" for it in called if not it.expected]
    yield Promise("each ends as it should", "; ".join(wrong) or f"{len(called)} calls", not wrong)
    yield at_least("the watch was real: callbacks of 5 ms or more", len(callbacks), 10)
    seconds, what = longest(called, callbacks)
    yield at_most(f"processor time of the longest callback ({what})", seconds, LONGEST)
    looks = metric(gateway.http, "clipserve_event_loop_lag_seconds_count")
    yield at_least("the lag is told: times in a second", looks / (called[-1].end - called[0].begin), 0.5)


def longest(called: list[Answered], callbacks: list[Callback]) -> tuple[float, str]:
    """Seconds of the longest callback while calls were answered, and the call and the coroutine."""
    best, what = 0.0, "none"
    for call in called:
        for callback in callbacks:
            if call.begin <= callback.at <= call.end and callback.seconds > best:
                best, what = callback.seconds, f"{call.method}, {callback.what}"
    return best, what


@row("large-picture-flood")
def large_picture_flood(env: FaultEnv) -> Iterator[Promise]:
    """One call has 256 WebPs of 64 million pixels and few bytes each; others send one picture a call."""
    model = env.model(serving=SERVING)
    gateway = env.gateway(env.triton(model.repository).address)
    picture = large_picture()
    with grpc.insecure_channel(gateway.address) as one, grpc.insecure_channel(gateway.address) as other:
        embed(other, [picture + b"first"], 60)
        load = env.load(gateway.address, Flow("others", "embed_image", rate=5))
        with Watch(gateway.process.pid) as watch, ThreadPoolExecutor(1) as pool:
            flood = [picture + i.to_bytes(4, "big") for i in range(FLOOD)]
            flooding = pool.submit(embed, one, flood, FLOOD_SECONDS)
            waits, codes = [], []
            stop = threading.Event()
            for i in range(OTHERS):
                begin = time.monotonic()
                codes.append(embed(other, [picture + f"other {i}".encode()], FLOOD_SECONDS))
                waits.append(time.monotonic() - begin)
                stop.wait(0.5)
            code = flooding.result()
        calls = load.finish()
    yield Promise(
        "the flood is refused, or ends at its deadline",
        code,
        code in ("RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"),
    )
    yield only("others' large pictures are answered", Counter(codes), "OK", least=OTHERS)
    yield at_most("the longest wait for one", max(waits), 20.0)
    yield only("small pictures are answered all the while", calls.codes, "OK", least=10)
    yield at_most("and soon: p99", calls.quantile(0.99), 4.0)
    growth = bound(available_cores(), SIDE * SIDE, sum(map(len, flood))) / MIB
    yield at_most("memory at its peak: more than before", watch.growth, growth, "MiB")
    idle = wait_until(lambda: metric(gateway.http, "clipserve_inflight_items") == 0, 10)
    yield at_most("afterwards nothing is under way after", idle, 10.0)


def large_picture() -> bytes:
    """A WebP of one color and as many pixels as are accepted."""
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(file, "WEBP", lossless=True)
    return file.getvalue()


def embed(channel: grpc.Channel, pictures: list[bytes], seconds: float) -> str:
    """The status of an Embed of these pictures, or of its first item that failed."""
    inputs = [clip_pb2.EmbedInput(image=common_pb2.Image(content=content)) for content in pictures]
    try:
        stub = clip_pb2_grpc.ClipServiceStub(channel)
        answer = stub.Embed(clip_pb2.EmbedRequest(inputs=inputs), timeout=seconds)
    except grpc.RpcError as error:
        return str(error.code().name)
    return next((it.status.reason for it in answer.results if it.status.code), "OK")
