"""The disk where collections are kept is full, or cannot be written."""

from __future__ import annotations

import os
from collections.abc import Iterator

import clipserve
import numpy as np
from clipserve import Point

from faults.disks import Disk, small_disk
from faults.fault_env import FaultEnv
from faults.flows import Flow, embedding
from faults.row import Promise, at_least, at_most, only, row
from faults.rows.recovery import RECOVERY
from faults.watch import wait_until

BIG = 40_000
"""Bytes of a point's payload."""
COLLECTION = "points"


def points(first: int, count: int, size: int = BIG) -> list[Point]:
    """Some points with payloads of random letters, which no compression makes smaller."""
    return [
        Point(
            f"p{number}",
            embedding=np.frombuffer(embedding(number), "<f4"),
            payload={"text": os.urandom(size // 2).hex()},
        )
        for number in range(first, first + count)
    ]


class Filler:
    """Upserts of batches until one is refused, and whether what was acknowledged is there."""

    def __init__(self, client: clipserve.Client) -> None:
        self._client = client
        self.acknowledged: dict[str, bytes] = {}
        self.refusal: clipserve.ClipserveError | None = None

    def fill(self, batches: int) -> None:
        """Upserts batch after batch; stops at a refusal."""
        for _ in range(batches):
            batch = points(len(self.acknowledged), 10)
            try:
                self._client.upsert(COLLECTION, batch)
            except clipserve.ClipserveError as error:
                self.refusal = error
                return
            self.acknowledged |= {it.id: np.asarray(it.embedding, "<f4").tobytes() for it in batch}

    def lost(self) -> int:
        """Acknowledged points that are not there byte for byte."""
        found = self._client.get_points(COLLECTION, self.acknowledged, with_embeddings=True)
        there = {it.id: np.asarray(it.embedding, "<f4").tobytes() for it in found}
        return sum(there.get(id) != meant for id, meant in self.acknowledged.items())


@row("disk-full")
def disk_full(env: FaultEnv) -> Iterator[Promise]:
    """The collections' disk has no more room under upserts, and gets some; then it is made read-only, and
    writable again."""
    _, triton, _ = env.service()
    folder = env.subfolder("disk")
    with small_disk(folder) as disk:
        gateway = env.gateway(triton.address, data=str(folder / "data"))
        with clipserve.Client(gateway.address, retry=None) as client:
            client.create_collection(COLLECTION, schema={"text": "string"})
            load = env.load(
                gateway.address,
                Flow("classify", "classify", rate=20),
                Flow("search", "search", rate=10, collection=COLLECTION),
            )
            yield from fill_and_relieve(client, disk, gateway.process.pid)
            yield from lock_and_unlock(client, disk)
        calls = load.finish()
        yield only("classification goes on all the while", calls.of("classify").codes, "OK", least=10)
        yield only("so do searches", calls.of("search").codes, "OK", least=5)
        alive = gateway.process.poll() is None
        yield Promise("the gateway lives", "yes" if alive else f"it ended: {gateway.process.poll()}", alive)
        gateway.stop()


def fill_and_relieve(client: clipserve.Client, disk: Disk, pid: int) -> Iterator[Promise]:
    """Until there is no more room, and then some."""
    filler = Filler(client)
    filler.fill(3)
    disk.tighten(pid)
    filler.fill(200)
    yield at_least(f"points written before ({disk.what})", len(filler.acknowledged), 20)
    yield refused("then an upsert says so", filler.refusal, "full")
    lost = filler.lost()
    yield Promise("what was acknowledged is there, byte for byte", f"{lost} lost", lost == 0)
    disk.relieve(pid)
    again = wait_until(lambda: works(filler), RECOVERY + 1)
    yield at_most("with room, upserts succeed again within", again, RECOVERY)


def lock_and_unlock(client: clipserve.Client, disk: Disk) -> Iterator[Promise]:
    """Read-only, and writable again."""
    filler = Filler(client)
    filler.fill(1)
    disk.lock()
    filler.fill(1)
    yield refused("read-only: an upsert says so", filler.refusal, "writable")
    lost = filler.lost()
    yield Promise("and all can be read", f"{lost} lost", lost == 0)
    disk.unlock()
    again = wait_until(lambda: works(filler), RECOVERY + 1)
    yield at_most("writable, upserts succeed again within", again, RECOVERY)


def works(filler: Filler) -> bool:
    """Whether a batch can be written."""
    filler.refusal = None
    filler.fill(1)
    return filler.refusal is None


def refused(what: str, error: clipserve.ClipserveError | None, word: str) -> Promise:
    """An error that says what is wrong with the disk."""
    good = error is not None and error.reason == "STORAGE_FAILED" and word in error.message
    return Promise(what, f"{error.code} {error.reason}: {error.message}" if error else "it succeeds", good)
