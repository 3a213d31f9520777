"""A real gateway in a process of its own: what callers make it hold, measured from outside."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections import Counter

import grpc
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc, common_pb2

from faults import http2
from testing.gateway_process import GatewayProcess, gateway_process

MIB = 1 << 20
HELD = 256 * MIB
LARGE = 40 * MIB
CALLERS = 24
ALONE = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
SPARE = 640 * MIB
"""For what is copied on the way, the pictures' own pixels, what malloc keeps, and what gRPC reads at once:
where a socket may hold 32 MiB (Linux 6.18), that is 400 MiB more here than where it may hold 6."""


@pytest.fixture
def gateway(tmp_path):
    settings = (f"max_held_bytes={HELD}", "log_level=WARNING", "max_image_pixels=64000000")
    with gateway_process(tmp_path, *settings, delay=0.05) as gateway:
        yield gateway


def large() -> clip_pb2.EmbedRequest:
    height = LARGE // 3000
    raw = common_pb2.RawImage(rgb=bytes(3000 * height), width=1000, height=height)
    return clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(image=common_pb2.Image(raw=raw))])


def held(gateway: GatewayProcess) -> float:
    url = f"http://127.0.0.1:{gateway.http_port}/metrics"
    lines = urllib.request.urlopen(url, timeout=10).read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("clipserve_held_bytes ")))


def wait_until(true, seconds: float = 90.0) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.slow
def test_large_messages_of_many_stay_within_the_budget_and_small_ones_are_answered(gateway):
    """Each of 24 connections uploads 40 MiB, a third of them in streams: a gigabyte in all."""
    address = f"127.0.0.1:{gateway.port}"
    request, codes = large(), Counter[str]()
    start = gateway.rss
    gateway.forget_peak()

    def one(number: int) -> None:
        with grpc.insecure_channel(address, ALONE) as channel:
            clip = clip_pb2_grpc.ClipServiceStub(channel)
            try:
                if number % 3:
                    clip.Embed(request, timeout=60)
                else:
                    messages = [clip_pb2.EmbedStreamRequest(request=request)] * 2
                    for answer in clip.EmbedStream(iter(messages), timeout=60):
                        assert answer.response.results
                codes["OK"] += 1
            except grpc.RpcError as error:
                codes[error.code().name] += 1

    threads = [threading.Thread(target=one, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    small = 0
    with grpc.insecure_channel(address, ALONE) as channel:
        clip = clip_pb2_grpc.ClipServiceStub(channel)
        while any(thread.is_alive() for thread in threads):
            text = clip_pb2.EmbedInput(text=f"a dog {small}")
            assert clip.Embed(clip_pb2.EmbedRequest(inputs=[text]), timeout=30).results
            small += 1
    assert codes.total() == CALLERS
    assert set(codes) <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    assert codes["OK"] >= 3
    assert small >= 3
    assert gateway.peak - start < HELD + LARGE * 2 + SPARE
    assert wait_until(lambda: held(gateway) == 0)
    assert wait_until(lambda: gateway.rss - start < 200 * MIB)


@pytest.mark.slow
def test_messages_that_never_end_hold_no_more_than_the_budget(gateway):
    """Eight connections send 30 MiB of a message of 40, in each of two calls, and then nothing more."""
    address = f"127.0.0.1:{gateway.port}"
    start = gateway.rss
    gateway.forget_peak()
    senders = [http2.greeted(address) for _ in range(8)]
    for sender in senders:
        for stream in (1, 3):
            http2.send_part(sender, stream, LARGE, 30 * MIB)
    with grpc.insecure_channel(address, ALONE) as channel:
        texts = clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text="a dog")])
        for _ in range(20):
            assert clip_pb2_grpc.ClipServiceStub(channel).Embed(texts, timeout=20).results
    assert gateway.peak - start < HELD + LARGE * 2 + SPARE
    for sender in senders:
        sender.close()
    assert wait_until(lambda: held(gateway) == 0)
    assert wait_until(lambda: gateway.rss - start < 200 * MIB)
