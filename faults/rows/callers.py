"""Callers that leave, or stop to listen."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator

import grpc
from clipserve.transport.channel import channel_options, target_uri
from clipserve.v1 import clip_pb2, clip_pb2_grpc
from clipserve_exporter.config import Serving

from faults.fault_env import FaultEnv
from faults.flows import Flow, text
from faults.row import Promise, at_least, at_most, only, row
from faults.watch import Watch, metric, wait_until

READERS = 16
"""Callers that do not read."""
STREAMS = 8
"""Of the process that is stopped."""
TEXTS = 32
"""Of each of their batches: answers of about 9 kB."""
FLOOD_SECONDS = 12.0
ROOMY = Serving(text_batch=64)
"""A model with room for them all: not overload is what is tried here."""


@row("caller-gone", quick=True)
def caller_gone(env: FaultEnv) -> Iterator[Promise]:
    """A process with streams and large batches under way gets SIGKILL; others cancel all their calls."""
    model, triton, gateway = env.service()
    model.turn(delay=0.1)
    work = env.load(
        gateway.address,
        Flow("streams", "stream", callers=2, timeout=60),
        Flow("batches", "embed_batch", callers=2, timeout=60),
    )
    fickle = env.load(gateway.address, Flow("fickle", "embed_image", callers=8, patience=0.05))
    time.sleep(1.5)
    items = metric(gateway.http, "clipserve_inflight_items")
    work.kill()
    cancelled = fickle.finish()
    idle = wait_until(lambda: metric(gateway.http, "clipserve_inflight_items") == 0, 20)
    time.sleep(0.5)
    before = triton.executions("delay_text")
    time.sleep(1)
    after = triton.executions("delay_text") - before
    model.turn(delay=0.0)
    yield at_least("items in flight before", items, 64)
    yield only("those who cancel hear so", cancelled.codes, "CANCELLED", least=20)
    yield at_most("no item is in flight after", idle, 2.0)
    yield at_most("and the model is asked no more: executions a second", after, 1, "")


@row("caller-does-not-read")
def caller_does_not_read(env: FaultEnv) -> Iterator[Promise]:
    """16 callers send batches on streams and read no answers; a process with 8 streams gets SIGSTOP."""
    gateway = env.gateway(env.triton(env.model(serving=ROOMY).repository).address)
    load = env.load(gateway.address, Flow("others", "embed_text", rate=20))
    frozen = env.load(gateway.address, Flow("frozen", "stream", callers=STREAMS, timeout=60))
    time.sleep(1)
    with Watch(gateway.process.pid) as watch:
        frozen.process.send_signal(signal.SIGSTOP)
        taken = asyncio.run(flood(gateway.address))
        over = time.monotonic()
        time.sleep(3)
    frozen.kill()
    calls = load.finish()
    idle = wait_until(lambda: metric(gateway.http, "clipserve_inflight_items") == 0, 20)
    yield at_least("batches that the callers get rid of", taken, READERS)
    # HTTP/2 windows grow while a caller is fast, to some megabytes.
    each = watch.growth / (READERS + STREAMS)
    yield at_most("memory that each of them costs", each, 16, "MiB")
    yield only("others are served", calls.codes, "OK", least=60)
    yield at_most("and as soon as the flood is over, fast: p99", calls.begun(over).quantile(0.99), 0.25)
    yield at_most("when they are gone, no item is in flight after", idle, 5.0)


async def flood(address: str) -> int:
    """Sends as long as the gateway takes it; the number of batches taken."""
    taken = await asyncio.gather(*(send_only(address, n) for n in range(READERS)))
    return sum(taken)


async def send_only(address: str, reader: int) -> int:
    """One caller that never reads; how many batches it got rid of."""
    uri = target_uri(address)
    batch = clip_pb2.EmbedRequest(
        inputs=[clip_pb2.EmbedInput(text=text(reader * TEXTS + n)) for n in range(TEXTS)],
    )
    sent = 0
    options = [*channel_options(uri), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(uri, options=options) as channel:
        call = clip_pb2_grpc.ClipServiceStub(channel).EmbedStream()

        async def flood() -> None:
            nonlocal sent
            while True:
                await call.write(clip_pb2.EmbedStreamRequest(batch_id=sent, request=batch))
                sent += 1

        with contextlib.suppress(asyncio.TimeoutError, grpc.aio.AioRpcError):
            await asyncio.wait_for(flood(), FLOOD_SECONDS)
        call.cancel()
    return sent
