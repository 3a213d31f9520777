"""A process that is killed loses nothing that it had acknowledged."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.index import open_engine

WRITER = """
import asyncio, datetime as dt, sys
import numpy as np
from clipserve_gateway.errors import CollectionExists
from clipserve_gateway.index import open_engine
from clipserve_gateway.types import CollectionSpec, PayloadType, Point

async def main(uri, start):
    engine = open_engine(uri)
    spec = CollectionSpec("kept", "m", "f" * 64, 4, {"n": PayloadType.INT}, dt.datetime.now(dt.timezone.utc))
    try:
        await engine.create(spec)
    except CollectionExists:
        pass
    async def write(n):
        await engine.upsert("kept", [Point(str(n), {"n": n}, np.full(4, n, np.float32))])
        print(n, flush=True)
    for n in range(start, start + 100_000, 8):
        await asyncio.gather(*(write(n + i) for i in range(8)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.parametrize("rounds", [3])
async def test_every_acknowledged_point_is_there_after_kill_9(tmp_path, rounds):
    uri = str(tmp_path / "data")
    acknowledged: set[int] = set()
    for turn in range(rounds):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, uri, str(turn * 1_000_000)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged.add(int(writer.stdout.readline()))
        time.sleep(random.uniform(0.1, 0.6))
        writer.send_signal(signal.SIGKILL)
        acknowledged |= {int(line) for line in writer.communicate()[0].split()}

    engine = open_engine(uri)
    names = [str(n) for n in sorted(acknowledged)]
    found = await engine.fetch("kept", names, with_embeddings=True)
    assert [point.id for point in found] == names
    for point in found:
        assert point.payload == {"n": int(point.id)}
        np.testing.assert_array_equal(point.embedding, np.full(4, int(point.id), np.float32))
    assert len(acknowledged) >= 8 * rounds
    await engine.close()


async def test_what_one_process_writes_another_one_finds(tmp_path):
    uri = str(tmp_path / "data")
    reader = open_engine(uri)
    assert await reader.collections() == []
    writer = subprocess.Popen([sys.executable, "-c", WRITER, uri, "0"], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    first = writer.stdout.readline().strip()
    assert [point.id for point in await reader.fetch("kept", [first], with_embeddings=False)] == [first]
    writer.kill()
    writer.communicate()
    await reader.close()


async def test_a_folder_that_cannot_be_written_is_a_storage_failure(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    engine = open_engine(str(tmp_path / "file"))
    with pytest.raises(StorageFailed):
        await engine.collections()
