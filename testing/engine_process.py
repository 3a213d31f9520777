"""A process that uses a store beside others: what tests start several of.

    python -m testing.engine_process increment URI KEY TIMES
    python -m testing.engine_process write URI NAME POINTS

`write` puts points `NAME-0` … into SHARED and prints each id that is acknowledged; every tenth point goes
under an id that all the writers use.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import numpy as np
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.values import PayloadType, Point, TableSpec

SHARED = TableSpec("shared", 4, {"n": PayloadType.INT, "by": PayloadType.STRING})


def start(*arguments: object, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts one; it writes to a pipe."""
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "testing.engine_process", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | paths | (env or {}))


async def increment(engine: LanceEngine, key: str, times: int) -> None:
    """Adds one to a counter so many times; whoever comes too late reads again."""
    for _ in range(times):
        while True:
            there = await engine.get_document(key)
            value, version = (int(there.value), there.version) if there else (0, 0)
            if await engine.put_document(key, str(value + 1).encode(), version=version):
                break


async def write(engine: LanceEngine, name: str, points: int) -> None:
    """Upserts one point at a time."""
    for n in range(points):
        id = f"common-{n}" if n % 10 == 0 else f"{name}-{n}"
        await engine.upsert(SHARED, [Point(id, {"n": n, "by": name}, np.eye(4, dtype=np.float32)[n % 4])])
        print(id, flush=True)


async def main(command: str, uri: str, name: str, times: str) -> None:
    engine = LanceEngine(uri)
    await {"increment": increment, "write": write}[command](engine, name, int(times))
    await engine.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
