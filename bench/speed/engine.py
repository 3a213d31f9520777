"""The engine without a gateway, in a process of its own: LanceDB's own call on the gateway's own table.

Orders are lines of JSON on standard input (what, seconds), each answered by one: milliseconds of each call,
and of the processor for each. The same call is also behind the shortest gRPC server there is: what any
server adds.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
import lancedb
import numpy as np
from clipserve.v1 import clip_pb2
from clipserve_gateway.index.lance.table import EF, REFINE

from bench.search.data import World

TOP_K = 10
QUERIES = 256


async def open_table(store: str, points: int) -> Any:
    """The table that has so many rows."""
    # As the gateway opens it: what others have written is seen.
    database = await lancedb.connect_async(store, read_consistency_interval=dt.timedelta(0))
    tables = [await database.open_table(name) for name in await database.table_names()]
    counts = [await table.count_rows() for table in tables]
    return tables[counts.index(points)]


async def serve(engine: Callable[[np.ndarray], Awaitable[Any]]) -> tuple[grpc.aio.Server, int]:
    """The engine's call behind gRPC, without anything that a gateway adds; the server and its port."""

    async def search(request: clip_pb2.SearchRequest, _: object) -> clip_pb2.SearchResponse:
        found = await engine(np.frombuffer(request.embedding.float32_le, "<f4"))
        found = found[:TOP_K]
        rows = zip(found["id"].to_pylist(), found["_distance"].to_pylist(), strict=True)
        return clip_pb2.SearchResponse(hits=[clip_pb2.SearchHit(id=id, score=1 - far) for id, far in rows])

    handler = grpc.unary_unary_rpc_method_handler(
        search, clip_pb2.SearchRequest.FromString, clip_pb2.SearchResponse.SerializeToString
    )
    server = grpc.aio.server()
    service = grpc.method_handlers_generic_handler("clipserve.v1.ClipService", {"Search": handler})
    server.add_generic_rpc_handlers([service])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def main() -> None:
    """See the module's docstring."""
    store, points, dim = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    table = await open_table(store, points)
    world = World(dim)
    queries = world.queries("picture", QUERIES)
    everything = np.concatenate([rows for _, rows in world.blocks(points)])

    async def engine(query: np.ndarray) -> Any:
        search = table.vector_search(query).distance_type("cosine").refine_factor(REFINE).ef(EF)
        # One more than asked for, as the gateway does to tell whether the last place is shared.
        return await search.select(["id", "_distance"]).limit(TOP_K + 1).to_arrow()

    async def exact(query: np.ndarray) -> None:
        scores = everything @ query
        best = np.argpartition(-scores, TOP_K)[:TOP_K]
        best[np.argsort(-scores[best])]

    ways = {"engine": engine, "exact": exact}
    _server, port = await serve(engine)
    print(json.dumps({"port": port}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        times, cpu, end, number = [], time.process_time(), time.perf_counter() + order["seconds"], 0
        while time.perf_counter() < end:
            begin = time.perf_counter()
            await ways[order["what"]](queries[number % QUERIES])
            times.append((time.perf_counter() - begin) * 1000)
            number += 1
        spent = (time.process_time() - cpu) * 1000 / number
        print(json.dumps({"ms": times, "cpu_ms": spent}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
