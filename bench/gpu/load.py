"""Callers of a Triton, in processes of their own, that cost as little as they can.

Requests are made once, as bytes; a call is nothing but sending them. No torch here.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import grpc

METHOD = "/inference.GRPCInferenceService/ModelInfer"
OPTIONS = [
    ("grpc.max_send_message_length", 1 << 30),
    ("grpc.max_receive_message_length", 1 << 30),
    # A connection for each channel, as callers on different machines have.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True)
class Work:
    """What one process does: `callers` threads that send `request` until `end`.

    Counted are the calls that end between `begin` and `end` (seconds of the monotonic clock).
    """

    request: bytes
    callers: int
    begin: float
    end: float


@dataclass(frozen=True)
class Done:
    """Seconds of each counted call, errors by their words, CPU seconds of the process."""

    latencies: list[float]
    errors: dict[str, int]
    cpu: float


class Callers:
    """Processes that stay, for one measurement after the other."""

    def __init__(self, target: str, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        for _ in range(processes):
            mine, theirs = context.Pipe()
            process = context.Process(target=serve, args=(target, theirs), daemon=True)
            process.start()
            self._pipes.append(mine)
            self._processes.append(process)
        for pipe in self._pipes:
            pipe.recv()

    def run(self, request: bytes, callers: int, begin: float, end: float) -> list[Done]:
        """Divides the callers over the processes; returns when all are done."""
        count = len(self._pipes)
        shares = [callers // count + (i < callers % count) for i in range(count)]
        busy = [(pipe, share) for pipe, share in zip(self._pipes, shares, strict=True) if share]
        for pipe, share in busy:
            pipe.send(Work(request, share, begin, end))
        return [pipe.recv() for pipe, _ in busy]

    def stop(self) -> None:
        """Ends the processes."""
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(5)


def serve(target: str, pipe: Connection) -> None:
    """One process: does the work that comes, until None comes."""
    with grpc.insecure_channel(target, options=OPTIONS) as channel:
        call = channel.unary_unary(METHOD)
        pipe.send(None)
        while (work := pipe.recv()) is not None:
            pipe.send(done(call, work))


def done(call: grpc.UnaryUnaryMultiCallable, work: Work) -> Done:
    """Does one piece of work."""
    found: list[float] = []
    errors: dict[str, int] = {}
    cpu = time.process_time()

    def caller() -> None:
        while (begin := time.monotonic()) < work.end:
            try:
                call(work.request, timeout=30)
            except grpc.RpcError as error:
                words = f"{error.code().name}: {error.details()[:120]}"
                errors[words] = errors.get(words, 0) + 1
                time.sleep(0.01)
                continue
            now = time.monotonic()
            if work.begin <= now <= work.end:
                found.append(now - begin)

    threads = [threading.Thread(target=caller) for _ in range(work.callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Done(found, errors, time.process_time() - cpu)
