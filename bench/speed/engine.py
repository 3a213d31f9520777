"""The engine without a gateway, in a process of its own: LanceDB's own call on the gateway's own table.

Orders are lines of JSON on standard input (what, seconds), each answered by one: milliseconds of each call.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
import time

import lancedb
import numpy as np
from clipserve_gateway.index.lance_table import EF, REFINE
from search_data import World

TOP_K = 10
QUERIES = 256


async def main() -> None:
    """See the module's docstring."""
    store, points, dim = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # As the gateway opens it: what others have written is seen.
    database = await lancedb.connect_async(store, read_consistency_interval=dt.timedelta(0))
    tables = [await database.open_table(name) for name in await database.table_names()]
    counts = [await table.count_rows() for table in tables]
    table = tables[counts.index(points)]
    world = World(dim)
    queries = world.queries("picture", QUERIES)
    everything = np.concatenate([rows for _, rows in world.blocks(points)])

    async def engine(query: np.ndarray) -> None:
        search = table.vector_search(query).distance_type("cosine").refine_factor(REFINE).ef(EF)
        await search.select(["id", "_distance"]).limit(TOP_K).to_arrow()

    async def exact(query: np.ndarray) -> None:
        scores = everything @ query
        best = np.argpartition(-scores, TOP_K)[:TOP_K]
        best[np.argsort(-scores[best])]

    ways = {"engine": engine, "exact": exact}
    print(json.dumps({"rows": points}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        times, end, number = [], time.perf_counter() + order["seconds"], 0
        while time.perf_counter() < end:
            begin = time.perf_counter()
            await ways[order["what"]](queries[number % QUERIES])
            times.append((time.perf_counter() - begin) * 1000)
            number += 1
        print(json.dumps({"ms": times}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
