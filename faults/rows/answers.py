"""Requests whose answers would be too large, or are as large as they may be."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from clipserve.v1 import clip_pb2, clip_pb2_grpc, common_pb2
from clipserve_exporter.config import Serving

from faults.fault_env import FaultEnv
from faults.flows import Flow
from faults.row import Promise, at_least, at_most, only, row
from faults.watch import MIB, Watch, usage, wait_until

BOMBS = 12
CALLERS = 4
IMAGES, LABELS = 256, 10_000
LARGEST = 147
"""Images whose 10,000 scores each fit into one message of 64 MiB."""
IMAGE = common_pb2.Image(raw=common_pb2.RawImage(rgb=b"abc", width=1, height=1))
ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
SERVING = Serving(image_batch=64, text_batch=256)


@row("answer-bomb")
def answer_bomb(env: FaultEnv) -> Iterator[Promise]:
    """Four callers ask for 10,000 scores of each of 256 pictures; then of 147, the largest answer."""
    model = env.model(serving=SERVING)
    gateway = env.gateway(env.triton(model.repository).address)
    pid = gateway.process.pid
    with grpc.insecure_channel(gateway.address, ANY_SIZE) as channel:
        stub = clip_pb2_grpc.ClipServiceStub(channel)
        code, _ = classify(stub, images=1)
        yield Promise("labels are encoded first", code, code == "OK")
        load = env.load(gateway.address, Flow("others", "embed_text", rate=10))
        with Watch(pid) as watch, ThreadPoolExecutor(CALLERS) as pool:
            before = watch.samples[0].memory
            bombs = list(pool.map(lambda _: classify(stub, IMAGES), range(BOMBS)))
            refused_growth = watch.growth
            largest = list(pool.map(lambda _: classify(stub, LARGEST), range(CALLERS)))
        calls = load.finish()
    yield only("answers over a message are refused", Counter(code for code, _ in bombs), "INVALID_ARGUMENT")
    yield at_most("and take memory of", refused_growth, 128, "MiB")
    yield only("the largest ones are given", Counter(code for code, _ in largest), "OK", "RESOURCE_EXHAUSTED")
    yield at_least("of bytes", max(size for _, size in largest) / MIB, 32, "MiB")
    yield at_most("memory at its peak: more than before", watch.growth, 1024, "MiB")
    yield only("others are served", calls.codes, "OK", least=20)
    yield at_most("and soon: p99", calls.quantile(0.99), 2.0)
    back = wait_until(lambda: usage(pid).memory < before + 200 * MIB, 60)
    yield at_most("memory is back within 200 MiB of the start in", back, 60.0)


def classify(stub: clip_pb2_grpc.ClipServiceStub, images: int) -> tuple[str, int]:
    """The status of a Classify that asks for every score of so many pictures, and the bytes of its answer."""
    request = clip_pb2.ClassifyRequest(
        images=itertools.repeat(IMAGE, images),
        labels=clip_pb2.LabelSet(names=[f"l{n:05d} aaaaa" for n in range(LABELS)], templates=["{}"]),
        top_k=LABELS,
    )
    try:
        return "OK", stub.Classify(request, timeout=120).ByteSize()
    except grpc.RpcError as error:
        return error.code().name, 0
