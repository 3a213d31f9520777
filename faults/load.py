"""A process that calls a gateway as told and writes down what became of each call.

It reads one line of JSON (target, flows, out), says `begun`, and calls until its standard input ends; then
it waits for the calls under way and writes their records to `out`. It uses the SDK's channel and stubs,
and no retries: what it sees is what the gateway does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from clipserve.transport.channel import channel_options, target_uri
from clipserve.v1 import clip_pb2, clip_pb2_grpc, collection_pb2_grpc
from clipserve.wire.status import code_name, read_failure

from faults.calls import RECORD, Calls
from faults.flows import KINDS, Flow

MOST = 20_000
"""Calls under way at which an open flow gives up."""
PAUSE = 0.02
"""Seconds that a caller of a closed flow rests after a failure."""
BATCHES = 4
"""Of one stream."""

Record = tuple[int, int, float, float, float, str, str, int]


class Load:
    """All flows of one process, each with a connection of its own."""

    def __init__(self, target: str, flows: list[Flow]) -> None:
        self.records: list[Record] = []
        self._flows = flows
        uri = target_uri(target)
        self._channels = [grpc.aio.insecure_channel(uri, options=channel_options(uri)) for _ in flows]
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Calls until it is told to stop, and waits for what is under way."""
        await asyncio.gather(*(self._flow(n, flow) for n, flow in enumerate(self._flows)))
        for channel in self._channels:
            await channel.close()

    def stop(self) -> None:
        """Begins no more calls."""
        self._stop.set()

    async def _flow(self, index: int, flow: Flow) -> None:
        caller = Caller(index, flow, self._channels[index], self.records)
        if flow.rate:
            await self._open(flow, caller)
        else:
            numbers = iter(range(sys.maxsize))
            await asyncio.gather(*(self._closed(caller, numbers) for _ in range(flow.callers)))

    async def _open(self, flow: Flow, caller: Caller) -> None:
        begin, number = time.monotonic(), 0
        under_way: set[asyncio.Task[str]] = set()
        while not self._stop.is_set():
            due = begin + number / flow.rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if len(under_way) >= MOST:
                raise SystemExit(f"{flow.name}: {MOST} calls are under way")
            task = asyncio.create_task(caller.call(number, due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            number += 1
        await asyncio.gather(*under_way)

    async def _closed(self, caller: Caller, numbers: Any) -> None:
        while not self._stop.is_set():
            if await caller.call(next(numbers), time.monotonic()) != "OK":
                await asyncio.sleep(PAUSE)


class Caller:
    """Makes calls of one flow."""

    def __init__(self, index: int, flow: Flow, channel: grpc.aio.Channel, records: list[Record]) -> None:
        self._index = index
        self._flow = flow
        self._records = records
        self._kind = KINDS[flow.kind]
        stubs = (clip_pb2_grpc.ClipServiceStub(channel), collection_pb2_grpc.CollectionServiceStub(channel))
        self._method = next(
            getattr(stub, self._kind.method) for stub in stubs if hasattr(stub, self._kind.method)
        )

    async def call(self, number: int, due: float) -> str:
        """Makes one call and writes down what became of it; its code."""
        request = self._kind.request(self._flow, self._flow.input(number))
        begin = time.monotonic()
        reason, digest = "", 0
        try:
            if self._kind.method == "EmbedStream":
                code = await self._stream(request)
            else:
                code, reason, digest = found(await self._unary(request))
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            reason = read_failure(code, "", error.trailing_metadata() or ()).error.reason
        except asyncio.CancelledError:
            code = "CANCELLED"
        record = (self._index, number, due, begin, time.monotonic(), code, reason, digest)
        self._records.append(record)
        return code

    async def _unary(self, request: Any) -> Any:
        call = self._method(request, timeout=self._flow.timeout, metadata=self._flow.metadata)
        if self._flow.patience:
            asyncio.get_running_loop().call_later(self._flow.patience, call.cancel)
        return await call

    async def _stream(self, request: clip_pb2.EmbedRequest) -> str:
        async def batches() -> AsyncIterator[clip_pb2.EmbedStreamRequest]:
            for batch in range(BATCHES):
                yield clip_pb2.EmbedStreamRequest(batch_id=batch, request=request)

        call = self._method(batches(), timeout=self._flow.timeout, metadata=self._flow.metadata)
        if self._flow.patience:
            asyncio.get_running_loop().call_later(self._flow.patience, call.cancel)
        codes = [response.status.code async for response in call]
        return next((code_name(code) for code in codes if code), "OK")


def found(response: Any) -> tuple[str, str, int]:
    """Code, reason and digest of an answer: of its first failed item, if there is one."""
    items = getattr(response, "results", None) or getattr(response, "statuses", None) or ()
    for item in items:
        status = getattr(item, "status", item)
        if status.code:
            return code_name(status.code), status.reason, 0
    if isinstance(response, clip_pb2.EmbedResponse):
        return "OK", "", zlib.crc32(response.results[0].embedding.float32_le)
    return "OK", "", 0


async def main() -> None:
    """See the module's docstring."""
    order = json.loads(sys.stdin.readline())
    flows = [Flow(**flow) for flow in order["flows"]]
    load = Load(order["target"], flows)
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    ended.add_done_callback(lambda _: load.stop())
    print("begun", flush=True)
    await load.run()
    names = tuple(flow.name for flow in flows)
    Calls(names, np.array(load.records, dtype=RECORD)).write(Path(order["out"]))


if __name__ == "__main__":
    asyncio.run(main())
