"""Large messages, more of them than there is memory for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import grpc
from clipserve.v1 import clip_pb2, clip_pb2_grpc, common_pb2

from faults import http2
from faults.fault_env import FaultEnv
from faults.flows import Flow
from faults.row import Promise, at_least, at_most, only, row
from faults.watch import MIB, Watch, usage, wait_until

WIDTH, HEIGHT = 4_000, 4_900
"""Of a raw picture: 56 MiB."""
STREAMS, WINDOW = 12, 4
STALLED = 12
PART = 40 * MIB
SECONDS = 20.0
ANY_SIZE = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


@row("byte-flood")
def byte_flood(env: FaultEnv) -> Iterator[Promise]:
    """For 20 s, 12 streams send four messages of 56 MiB each and read no answer; 12 more connections send 40
    MiB of such a message and stop."""
    model = env.model()
    gateway = env.gateway(env.triton(model.repository).address)
    pid = gateway.process.pid
    load = env.load(gateway.address, Flow("others", "embed_text", rate=10, timeout=10.0))
    time.sleep(1)
    codes: Counter[str] = Counter()
    with Watch(pid) as watch:
        before = watch.samples[0].memory
        flooding = [threading.Thread(target=flood, args=(gateway.address, codes)) for _ in range(STREAMS)]
        for thread in flooding:
            thread.start()
        stalled = [http2.greeted(gateway.address) for _ in range(STALLED)]
        taken = sum(http2.send_part(sender, 1, 56 * MIB, PART, seconds=0.5) for sender in stalled)
        for thread in flooding:
            thread.join()
    calls = load.finish()
    for sender in stalled:
        sender.close()
    at_rest = wait_until(lambda: usage(pid).memory - before < 200 * MIB, 60)
    yield at_least("messages that were begun, MiB", taken / MIB, 100)
    yield only("streams end by the flood's own time, or for want of room", codes, "CANCELLED",
               "RESOURCE_EXHAUSTED", "UNAVAILABLE", least=STREAMS)  # fmt: skip
    yield at_most("memory at its peak", max(it.memory for it in watch.samples) / MIB, 2560, "MiB")
    yield at_most("it is back within 200 MiB after", at_rest, 60.0)
    yield only("others are served", calls.codes, "OK", least=100)
    yield at_most("and soon: half of them", calls.quantile(0.5), 0.5)
    yield at_most("p99", calls.quantile(0.99), 5.0)


def flood(address: str, codes: Counter[str]) -> None:
    """Sends a stream's window full, reads nothing, and hangs up in the end."""
    raw = common_pb2.RawImage(rgb=bytes(WIDTH * HEIGHT * 3), width=WIDTH, height=HEIGHT)
    message = clip_pb2.EmbedStreamRequest()
    message.request.inputs.add().image.raw.CopyFrom(raw)
    over = threading.Event()

    def messages() -> Iterator[clip_pb2.EmbedStreamRequest]:
        for _ in range(WINDOW):
            yield message
        over.wait()

    with grpc.insecure_channel(address, ANY_SIZE) as channel:
        call = clip_pb2_grpc.ClipServiceStub(channel).EmbedStream(messages())
        over.wait(SECONDS)
        call.cancel()
        over.set()
        codes[call.code().name] += 1
