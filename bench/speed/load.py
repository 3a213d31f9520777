"""A process that sends requests, made before, and measures how long each answer takes.

Orders are lines of JSON on standard input (see Order); each is answered by a line of JSON (see Done).
A call is nothing but bytes that go out and bytes that come back: what is measured is the server.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import pickle
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import grpc.aio

OPTIONS = [("grpc.max_send_message_length", 1 << 30), ("grpc.max_receive_message_length", 1 << 30)]
TIMEOUT = 120.0
THREADS = 256
"""Calls by HTTP that are under way at most."""


@dataclass(frozen=True)
class Order:
    """What to send, where, and how.

    `path` is a gRPC method of `target` (HOST:PORT), or `target` a URL to POST to. Closed loops have
    `callers`, each of which sends its next request once it is answered; an open one has a `rate` in calls a
    second.
    """

    target: str
    path: str
    requests: str
    """File of the requests, a pickled list of bytes; they are sent in turn."""
    seconds: float
    callers: int = 0
    rate: float = 0.0
    first: int = 0
    """Position of the first request."""
    priority: str = ""
    """Of gRPC calls: interactive or bulk."""


@dataclass(frozen=True)
class Done:
    """Calls in the order of their ends: when each was due and when it ended, in seconds since the start."""

    due: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    answer_bytes: int = 0
    """Of the last answer."""
    cpu: float = 0.0
    """Seconds of this process."""


Send = Callable[[bytes], Awaitable[bytes]]


async def carry_out(order: Order, requests: list[bytes], send: Send) -> Done:
    """Sends for so long; waits for what is under way at the end."""
    due, end, failures = [], [], Counter[str]()
    numbers = itertools.count(order.first)
    begin, cpu, last = time.perf_counter(), time.process_time(), 0

    async def call(at: float) -> None:
        nonlocal last
        try:
            last = len(await send(requests[next(numbers) % len(requests)]))
        except Exception as error:
            code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
            failures[code] += 1
            return
        due.append(at)
        end.append(time.perf_counter() - begin)

    async def caller() -> None:
        while (now := time.perf_counter() - begin) < order.seconds:
            await call(now)

    if order.callers:
        await asyncio.gather(*(caller() for _ in range(order.callers)))
    else:
        tasks = []
        for number in range(int(order.rate * order.seconds)):
            at = number / order.rate
            await asyncio.sleep(max(0.0, begin + at - time.perf_counter()))
            tasks.append(asyncio.create_task(call(at)))
        await asyncio.gather(*tasks)
    return Done(due, end, dict(failures), last, time.process_time() - cpu)


class Senders:
    """Connections to each target, kept: one for gRPC, of HTTP as many as calls under way."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._idle: defaultdict[str, list[http.client.HTTPConnection]] = defaultdict(list)
        self._threads = ThreadPoolExecutor(THREADS)

    def to(self, order: Order) -> Send:
        """What sends a request and gives its answer."""
        if "://" in order.target:
            loop = asyncio.get_running_loop()
            return lambda body: loop.run_in_executor(self._threads, self._post, order.target, body)
        if order.target not in self._channels:
            self._channels[order.target] = grpc.aio.insecure_channel(order.target, options=OPTIONS)
        method = self._channels[order.target].unary_unary(order.path)

        metadata = (("x-clipserve-priority", order.priority),) if order.priority else ()

        async def send(request: bytes) -> bytes:
            return await method(request, timeout=TIMEOUT, metadata=metadata)

        return send

    def _post(self, url: str, body: bytes) -> bytes:
        parts = urlsplit(url)
        idle = self._idle[parts.netloc]
        connection = idle.pop() if idle else None
        while True:
            fresh = connection is None
            connection = connection or http.client.HTTPConnection(
                parts.hostname or "", parts.port, timeout=TIMEOUT
            )
            try:
                connection.request("POST", parts.path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                break
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # A server closes connections that were idle for some seconds.
                if fresh:
                    raise
                connection = None
        content = answer.read()
        if answer.status != 200:
            raise OSError(f"HTTP {answer.status}")
        idle.append(connection)
        return content


def read(file: str) -> list[bytes]:
    """The requests of a file."""
    found: list[bytes] = pickle.loads(Path(file).read_bytes())
    return found


async def main() -> None:
    """See the module's docstring."""
    senders, files = Senders(), dict[str, list[bytes]]()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = Order(**json.loads(line))
        if order.requests not in files:
            files[order.requests] = read(order.requests)
        done = await carry_out(order, files[order.requests], senders.to(order))
        print(json.dumps(asdict(done)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
