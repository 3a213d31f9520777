"""How many reads LanceDB gets at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from clipserve_gateway.index.lance import engine as lance
from clipserve_gateway.index.lance.table import LanceTable
from clipserve_gateway.index.values import TableSpec

TABLE = TableSpec("points", 4, {})


async def test_a_folder_gets_few_reads_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance, "available_cores", lambda: 1)
    begun, full, go = 0, asyncio.Event(), asyncio.Event()

    async def count(self: LanceTable, filter: object) -> int:
        nonlocal begun
        begun += 1
        if begun == lance.LEAST_READS:
            full.set()
        await go.wait()
        return 7

    monkeypatch.setattr(LanceTable, "count", count)
    engine = lance.LanceEngine(str(tmp_path))
    await engine.create_table(TABLE)
    reads = [asyncio.create_task(engine.count(TABLE)) for _ in range(lance.LEAST_READS + 3)]
    await asyncio.wait_for(full.wait(), 10)
    # Writes are not limited. While this one takes place, another read would have begun.
    await engine.delete(TABLE, ["a"])
    assert begun == lance.LEAST_READS
    go.set()
    assert await asyncio.gather(*reads) == [7] * len(reads)
    await engine.close()
