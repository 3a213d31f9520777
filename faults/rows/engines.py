"""The place where collections are kept: a disk without room, a server that goes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import clipserve
import numpy as np
from clipserve import Point
from support.milvus_server import MilvusServer

from faults.calls import Calls
from faults.flows import Flow, embedding
from faults.place import Place
from faults.row import Promise, at_least, at_most, only, row
from faults.rows.recovery import RECOVERY
from faults.watch import wait_until

BIG = 40_000
"""Bytes of a point's payload."""
COLLECTION = "points"
AWAY = 8.0
"""Seconds that Milvus is away."""
MILVUS_RECOVERY = 15.0
"""Seconds from Milvus's own word that it is healthy: it loads its collections only then."""


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


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A folder on a disk of 16 MB, if this user may mount one; whether that is so."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Changes the disk."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@row("disk-full")
def disk_full(place: Place) -> Iterator[Promise]:
    """The collections' disk (tmpfs of 16 MB) fills up under upserts and gets room; then it is made read-only,
    and writable again."""
    _, triton, _ = place.service()
    folder = place.subfolder("disk")
    with small_disk(folder) as mounted:
        yield Promise("a disk of its own can be mounted (needs root)", "yes" if mounted else "no", mounted)
        if not mounted:
            return
        gateway = place.gateway(triton.address, data=str(folder / "data"))
        with clipserve.Client(gateway.address, retry=None) as client:
            client.create_collection(COLLECTION, schema={"text": "string"})
            load = place.load(
                gateway.address,
                Flow("classify", "classify", rate=20),
                Flow("search", "search", rate=10, collection=COLLECTION),
            )
            yield from fill_and_relieve(client, folder)
            yield from lock_and_unlock(client, folder)
        calls = load.finish()
        yield only("classification goes on all the while", calls.of("classify").codes, "OK", least=50)
        yield only("so do searches", calls.of("search").codes, "OK", least=25)
        alive = gateway.process.poll() is None
        yield Promise("the gateway lives", "yes" if alive else f"it ended: {gateway.process.poll()}", alive)
        gateway.stop()


def fill_and_relieve(client: clipserve.Client, folder: Path) -> Iterator[Promise]:
    """Until the disk is full, and then some room."""
    filler = Filler(client)
    filler.fill(200)
    yield at_least("points written before the disk is full", len(filler.acknowledged), 20)
    yield refused("then an upsert says so", filler.refusal, "full")
    lost = filler.lost()
    yield Promise("what was acknowledged is there, byte for byte", f"{lost} lost", lost == 0)
    remount(folder, "size=256m")
    again = wait_until(lambda: works(filler), RECOVERY + 1)
    yield at_most("with room, upserts succeed again within", again, RECOVERY)


def lock_and_unlock(client: clipserve.Client, folder: Path) -> Iterator[Promise]:
    """Read-only, and writable again."""
    filler = Filler(client)
    filler.fill(1)
    remount(folder, "ro")
    filler.fill(1)
    yield refused("a read-only disk: an upsert says so", filler.refusal, "writable")
    lost = filler.lost()
    yield Promise("and all can be read", f"{lost} lost", lost == 0)
    remount(folder, "rw")
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


@row("milvus-down")
def milvus_down(place: Place) -> Iterator[Promise]:
    """A real Milvus gets SIGKILL under searches, upserts and classification, and comes back after 8 s."""
    _, triton, _ = place.service()
    with tempfile.TemporaryDirectory(prefix="clipserve-milvus-", ignore_cleanup_errors=True) as folder:
        milvus = MilvusServer(Path(folder))
        milvus.start()
        try:
            gateway = place.gateway(triton.address, data=milvus.uri)
            client = place.client(gateway)
            client.create_collection(COLLECTION, schema={"text": "string"})
            client.upsert(COLLECTION, points(0, 20, size=100))
            load = place.load(
                gateway.address,
                Flow("classify", "classify", rate=20, timeout=5.0),
                Flow("search", "search", rate=10, timeout=15.0, collection=COLLECTION),
                Flow("upsert", "upsert", rate=5, timeout=15.0, collection=COLLECTION),
            )
            time.sleep(4)
            broken = time.monotonic()
            milvus.kill()
            time.sleep(AWAY)
            milvus.start()
            back = time.monotonic()
            time.sleep(MILVUS_RECOVERY + 4)
            calls = load.finish()
            yield from of_milvus(calls, broken, back)
            written = [f"upsert-{n}" for n in calls.of("upsert").ok.records["number"]]
            there = {it.id for it in client.get_points(COLLECTION, written)}
            yield Promise(
                "every acknowledged upsert is there", f"{len(there)} of {len(written)}", there == set(written)
            )
        finally:
            milvus.kill()


def of_milvus(calls: Calls, broken: float, back: float) -> Iterator[Promise]:
    """What callers saw of it."""
    of_engine = calls.of("search", "upsert")
    away = of_engine.begun(broken, back)
    yield only("classification goes on all the while", calls.of("classify").codes, "OK", least=200)
    alone = calls.of("classify").begun(broken, broken + AWAY)
    yield at_most("and as fast: p99", alone.quantile(0.99), 0.25)
    yield only("before, all is well", of_engine.ended(before=broken).codes, "OK", least=20)
    yield only("searches and upserts get UNAVAILABLE", away.failed.codes, "UNAVAILABLE", least=60)
    yield at_most("the longest wait for that", away.failed.quantile(1.0), 3.0)
    yield at_most("from 3 s on, p99", away.begun(after=broken + 3).failed.quantile(0.99), 0.25)
    healthy = of_engine.last_failure_after(back)
    yield at_most("all is well after Milvus says it is healthy, within", healthy, MILVUS_RECOVERY)
    yield at_most("and the longest call", of_engine.quantile(1.0), MILVUS_RECOVERY)
    yield only("all stays well", of_engine.begun(after=back + MILVUS_RECOVERY).codes, "OK", least=30)
