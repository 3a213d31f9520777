"""Callers that show no token: what health answers, or would have to hold, for them."""

from __future__ import annotations

import contextlib
import gzip
import time
from collections.abc import Iterator

import grpc
from clipserve.transport.channel import channel_options, target_uri
from clipserve.v1 import clip_pb2, clip_pb2_grpc

from faults import http2
from faults.fault_env import FaultEnv
from faults.flows import Flow
from faults.row import Promise, at_least, at_most, only, row
from faults.watch import SCRAPE_SECONDS, Watch, metric, serves, wait_until

WATCHERS = 40
"""Connections that watch and read nothing."""
STREAMS = 40
"""Connections that each send a request of MIB mebibytes."""
MIB = 60
FLOOD_SECONDS = 12.0
GRACE_SECONDS = 20.0


@row("stalled-watch")
def stalled_watch(env: FaultEnv) -> Iterator[Promise]:
    """40 connections watch 20 health names each and read nothing; Triton ends and returns; then SIGTERM."""
    triton = env.triton(env.model().repository)
    gateway = env.gateway(triton.address, "--grace-seconds", f"{GRACE_SECONDS:g}")
    names = [b"", b"clipserve.calls", *(b"name-%d" % n for n in range(18))]
    with contextlib.ExitStack() as stack:
        for _ in range(WATCHERS):
            connection = stack.enter_context(http2.greeted(gateway.address, window=0))
            for n, name in enumerate(names):
                connection.sendall(http2.call(2 * n + 1, http2.WATCH, http2.named(name)))
        time.sleep(1)
        first = new_client(gateway.address)
        triton.kill()
        gone = wait_until(lambda: not serves(gateway.http), 20, SCRAPE_SECONDS)
        triton.start()
        back = wait_until(lambda: serves(gateway.http), 30, SCRAPE_SECONDS)
        second = new_client(gateway.address)
        begin = time.monotonic()
        code = gateway.stop()
        stopped = time.monotonic() - begin
    yield at_most("a new client of the SDK is answered within", first, 2.0)
    yield at_most("clipserve_model_ready tells that Triton is gone within", gone, 10.0)
    yield at_most("and that it is back within", back, 15.0)
    yield at_most("then a new client is answered within", second, 2.0)
    yield Promise("SIGTERM: exit code", str(code), code == 0)
    yield at_most(f"SIGTERM ends it (grace: {GRACE_SECONDS:g} s) within", stopped, GRACE_SECONDS / 2)


def new_client(address: str) -> float:
    """Seconds until a new connection of the SDK's, which watches health, has an answer."""
    begin, uri = time.monotonic(), target_uri(address)
    options = [*channel_options(uri), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(uri, options) as channel:
        try:
            stub = clip_pb2_grpc.ClipServiceStub(channel)
            stub.GetServerInfo(clip_pb2.GetServerInfoRequest(), timeout=20)
        except grpc.RpcError:
            return float("inf")
    return time.monotonic() - begin


@row("health-flood")
def health_flood(env: FaultEnv) -> Iterator[Promise]:
    """40 connections each send a health request of 60 MiB, plain and compressed, under 20 calls/s."""
    _, triton, _ = env.service()
    gateway = env.gateway(triton.address)
    load = env.load(gateway.address, Flow("others", "embed_text", rate=20))
    time.sleep(1)
    data = http2.message(bytes(MIB << 20))
    packed = http2.message(gzip.compress(data), compressed=True)
    waits, sent = [], 0
    with Watch(gateway.process.pid) as watch:
        for path in (http2.WATCH, http2.CHECK):
            with contextlib.ExitStack() as stack:
                senders = [
                    stack.enter_context(http2.Sender(gateway.address, path, data)) for _ in range(STREAMS)
                ]
                end = time.monotonic() + FLOOD_SECONDS
                while time.monotonic() < end:
                    sent += sum(sender.push() for sender in senders)
                    if not waits or time.monotonic() - waits[-1][0] > 1:
                        waits.append((time.monotonic(), new_client(gateway.address)))
        with contextlib.ExitStack() as stack:
            for n in range(STREAMS):
                connection = stack.enter_context(http2.greeted(gateway.address))
                header = (b"grpc-encoding", b"gzip")
                path = (http2.WATCH, http2.CHECK)[n % 2]
                with contextlib.suppress(OSError):
                    connection.sendall(http2.call(1, path, packed[:16_000], header, flags=0))
            time.sleep(2)
    calls = load.finish()
    yield at_least("bytes sent", sent / (1 << 20), MIB, "MiB")
    yield at_most("memory grows by", watch.growth, 250, "MiB")
    yield only("others are served", calls.codes, "OK", least=200)
    yield at_most("p99", calls.quantile(0.99), 1.0)
    yield at_most("the longest wait of a new client of the SDK", max(wait for _, wait in waits), 8.0)
    free = wait_until(lambda: metric(gateway.http, "clipserve_inflight_items") == 0, 5)
    yield at_most("when they are gone, no item is in flight after", free, 5.0)
