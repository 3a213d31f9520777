"""The power is cut while the gateway writes."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import clipserve

from faults.disk_image import DiskImage, recording
from faults.fault_env import FaultEnv
from faults.row import Promise, at_least, row
from faults.rows.kill import COLLECTION, Ledger, contents, point, problems, write_and_kill

IMAGES = 6
LEAST_SECONDS = 1.5
"""Of writes before the cut."""


@row("power-cut")
def power_cut(env: FaultEnv) -> Iterator[Promise]:
    """The gateway is killed under upserts and deletes of 6 callers, and started on images of its disk that
    hold what was synced; what was not is missing, or there, or cut off, at random."""
    _, triton, _ = env.service()
    record, data, ledger = crash(env, triton.address, "true")
    image = DiskImage(record, data)
    yield at_least("operations acknowledged", ledger.acknowledged, 20)
    wrong, opened = [], 0
    for number in range(IMAGES):
        folder = env.subfolder("image") / "data"
        image.write(folder, random.Random(number) if number else None)
        gateway = env.gateway(triton.address, data=str(folder))
        with clipserve.Client(gateway.address, retry=None, timeout=20) as client:
            wrong += [f"image {number}: {it}" for it in problems(ledger, contents(client))]
            client.upsert(COLLECTION, [point("after", 1)])
            opened += 1
        gateway.stop()
    for problem in wrong[:10]:
        print("  ", problem)
    yield Promise(
        f"acknowledged writes and deletes that are not as they were, in {IMAGES} images",
        str(len(wrong)),
        not wrong and opened == IMAGES,
    )
    record, data, ledger = crash(env, triton.address, "false")
    folder = env.subfolder("image") / "data"
    DiskImage(record, data).write(folder)
    yield Promise(
        "with sync_writes off the same image holds no table (so the check can fail)",
        f"{ledger.acknowledged} acknowledged, {len(list(folder.iterdir()))} tables",
        ledger.acknowledged > 0 and not list(folder.iterdir()),
    )


def crash(env: FaultEnv, triton: str, sync: str) -> tuple[Path, Path, Ledger]:
    """Kills a gateway under writes: the record of its syncs, its data, and what it acknowledged."""
    record, data, ledger = env.subfolder("record"), env.subfolder("data"), Ledger()
    gateway = env.gateway(triton, "--sync-writes", sync, data=os.path.realpath(data), env=recording(record))
    with clipserve.Client(gateway.address, retry=None, timeout=20) as client:
        client.create_collection(COLLECTION, schema={"serial": "int"})
        write_and_kill(client, gateway, ledger, LEAST_SECONDS)
    return record, Path(os.path.realpath(data)), ledger
