"""Many images that are dear to decode, sent at once, and what that may take of a gateway's memory."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from clipserve.v1 import clip_pb2, common_pb2
from clipserve_gateway.inputs.image_memory import LARGE_BYTES, MOST_BYTES
from grpc_health.v1 import health_pb2, health_pb2_grpc

from testing.hostile.dear import DEAR
from testing.hostile.sending import OPTIONS, send
from testing.hostile.world import PICTURE_INPUT

SERVING = health_pb2.HealthCheckResponse.SERVING
REQUEST_COPIES = 4
"""Of a request's bytes: as gRPC received them, as one piece, as a message, and as what is read from it."""
ONE_IMAGE = 40 << 20
"""What an image may take beside its pixels."""


def bound(threads: int, max_pixels: int, request_bytes: int) -> int:
    """Bytes that a gateway may take more than when it is idle.

    One large image at a time, with up to 17 bytes for each of max_image_pixels and 40 MiB; an image of up to
    128 MiB on each of decode_threads; and four copies of the requests that are under way, which are no more
    than max_inflight_bytes once they have been read. Messages still on their way come on top: gRPC keeps
    those, up to max_message_bytes for each call that is being sent.
    """
    return MOST_BYTES * max_pixels + ONE_IMAGE + threads * LARGE_BYTES + REQUEST_COPIES * request_bytes


@dataclass
class Raid:
    """What came of it."""

    codes: Counter[str] = field(default_factory=Counter)
    """How the callers' images ended."""
    waits: list[float] = field(default_factory=list)
    """Seconds that a small picture took meanwhile, again and again."""
    seconds: float = 0.0
    request_bytes: int = 0


def bombs(pixels: int) -> list[bytes]:
    """One of each kind, of so many pixels."""
    return [make(pixels) for make in DEAR.values()]


async def raid(address: str, files: Sequence[bytes], callers: int, *, timeout: float) -> Raid:
    """Every caller sends one file, all at once, while somebody else embeds a small picture."""
    found = Raid()
    requests = []
    for i, file in zip(range(callers), itertools.cycle(files), strict=False):
        # Different bytes: equal images are decoded once.
        image = common_pb2.Image(content=file + i.to_bytes(4, "big"))
        requests.append(clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(image=image)]).SerializeToString())
    found.request_bytes = sum(map(len, requests))
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:

        async def caller(request: bytes) -> None:
            outcome = await send(channel, "ClipService/Embed", request, timeout=timeout)
            reason = outcome.responses[0].results[0].status.reason if outcome.responses else outcome.reason
            found.codes[reason or outcome.code] += 1

        async def other() -> None:
            request = clip_pb2.EmbedRequest(inputs=[PICTURE_INPUT]).SerializeToString()
            while True:
                began = time.monotonic()
                outcome = await send(channel, "ClipService/Embed", request, timeout=timeout)
                assert outcome.code == "OK", outcome
                found.waits.append(time.monotonic() - began)
                await asyncio.sleep(0.1)

        began = time.monotonic()
        beside = asyncio.create_task(other())
        await asyncio.gather(*map(caller, requests))
        found.seconds = time.monotonic() - began
        beside.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beside
    return found


async def until_serving(address: str, seconds: float = 60.0) -> None:
    """Waits until a gateway has found its models."""
    async with grpc.aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        end = time.monotonic() + seconds
        while (await health.Check(health_pb2.HealthCheckRequest())).status != SERVING:
            assert time.monotonic() < end, f"{address} does not serve"
            await asyncio.sleep(0.1)


def memory(pid: int, name: str) -> int:
    """VmRSS, resident now, or VmHWM, at most since it was last cleared: bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def clear_peak(pid: int) -> None:
    """Lets VmHWM begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
