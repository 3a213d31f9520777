"""The store is backed up while it is written to, and a second gateway serves what was restored."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clipserve
import numpy as np
from clipserve import LabelSet, Point

from faults.fault_env import FaultEnv
from faults.flows import embedding, picture
from faults.row import Promise, at_least, at_most, only, row
from faults.watch import wait_until
from testing.service import BIN

PLAIN, KEPT = "plain", "kept"
WRITERS = 4
BATCH = 5
BALLAST = 4000
"""Points that are there before, so that the backup takes a while."""
BALLAST_BYTES = 8_000
OVERTAKEN = 5
"""Batches of each writer that the backup must be overtaken by: else it was not taken under load."""


class Writer(threading.Thread):
    """Writes batch after batch: new points to one collection, and one picture over and over to the other."""

    def __init__(self, number: int, client: clipserve.Client, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.acknowledged = 0
        """Batches that were acknowledged: those with the numbers below this one."""
        self.sent = 0
        self.slowest = 0.0
        self.codes: Counter[str] = Counter()
        self._client = client
        self._stop_writing = stop

    def run(self) -> None:
        """Until it is told to stop, or a write fails."""
        while not self._stop_writing.is_set():
            number, begin = self.sent, time.monotonic()
            self.sent += 1
            try:
                self._client.upsert(PLAIN, [self.plain(number, i) for i in range(BATCH)])
                self._client.upsert(KEPT, [self.kept(number)])
            except clipserve.ClipserveError as error:
                self.codes[error.code or type(error).__name__] += 1
                return
            self.codes["OK"] += 1
            self.slowest = max(self.slowest, time.monotonic() - begin)
            self.acknowledged = self.sent

    def serial(self, number: int, i: int = 0) -> int:
        """The serial number of a point."""
        return self.number * 1_000_000 + number * BATCH + i

    def plain(self, number: int, i: int) -> Point:
        """One point of a batch."""
        serial = self.serial(number, i)
        vector = np.frombuffer(embedding(serial), "<f4")
        return Point(f"w{self.number}-{number}-{i}", embedding=vector, payload={"serial": serial})

    def kept(self, number: int) -> Point:
        """The picture that stands for a batch."""
        return Point(f"w{self.number}", image=picture(self.serial(number)), payload={"serial": number})


@row("backup-under-load")
def backup_under_load(env: FaultEnv) -> Iterator[Promise]:
    """4 callers write to two collections while the store is backed up; the backup is restored into a new
    folder, and a second gateway serves it."""
    _, triton, _ = env.service()
    data, backup, restored = (env.subfolder(name) / name for name in ("data", "backup", "restored"))
    gateway = env.gateway(triton.address, data=str(data))
    client = env.client(gateway)
    prepare(client)
    stop = threading.Event()
    writers = [
        Writer(number, env.client(gateway, retry=None, timeout=30), stop) for number in range(1, WRITERS + 1)
    ]
    for writer in writers:
        writer.start()
    wait_until(lambda: min(it.acknowledged for it in writers) >= OVERTAKEN, 60)
    before = [writer.acknowledged for writer in writers]
    begin = time.monotonic()
    taken = command("backup", backup, "--data", data)
    seconds = time.monotonic() - begin
    overtaken = [writer.acknowledged - there for writer, there in zip(writers, before, strict=True)]
    stop.set()
    for writer in writers:
        writer.join(60)
    yield Promise(
        "the backup says what it holds",
        taken.stderr or f"{json.loads(taken.stdout)['points']:,} points",
        taken.returncode == 0,
    )
    yield at_least(f"batches of each caller while it was taken ({seconds:.1f} s)", min(overtaken), OVERTAKEN)
    yield only(
        "which all succeed", sum((it.codes for it in writers), Counter()), "OK", least=WRITERS * OVERTAKEN
    )
    yield at_most("the slowest of them", max(it.slowest for it in writers), 10.0)
    done = command("restore", backup, "--data", restored)
    yield Promise("it can be restored", done.stderr or "yes", done.returncode == 0)
    second = env.client(env.gateway(triton.address, data=str(restored)))
    wrong = list(problems(second, writers, before))
    yield Promise(
        "what was acknowledged before is there, byte for byte; of each caller a prefix",
        "; ".join(wrong[:3]) or "yes",
        not wrong,
    )
    yield Promise(
        "so are ballast, sources, alias and labels",
        "; ".join(same(client, second)) or "yes",
        not same(client, second),
    )
    again = Point("after", embedding=np.frombuffer(embedding(1), "<f4"))
    written = second.upsert(PLAIN, [again]).written
    yield Promise("and the second gateway takes writes", f"{written} written", written == 1)
    truncated = next(backup.glob("store/*/data/*.lance"))
    truncated.write_bytes(truncated.read_bytes()[:-1])
    refused = command("restore", backup, "--data", restored.with_name("other"))
    good = refused.returncode == 1 and truncated.name in refused.stderr
    yield Promise("a file that was cut off is refused by name", refused.stderr.strip()[-120:], good)


def prepare(client: clipserve.Client) -> None:
    """Collections, an alias, labels, and points enough."""
    client.create_collection(PLAIN, schema={"serial": "int", "text": "string"})
    client.create_collection(KEPT, schema={"serial": "int"}, keep_sources=True)
    client.put_alias("best", PLAIN)
    client.put_label_set("birds", LabelSet(("owl", "kite")))
    text = np.random.default_rng(0).bytes(BALLAST_BYTES // 2).hex()
    client.upsert(
        PLAIN,
        [
            Point(f"ballast-{n}", embedding=np.frombuffer(embedding(n), "<f4"), payload={"text": text})
            for n in range(BALLAST)
        ],
    )
    client.upsert(KEPT, [Point(f"still-{n}", image=picture(n)) for n in range(8)])


def command(name: str, folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    """One of the gateway's commands."""
    words = [BIN / "clipserve-gateway", name, folder, *options, "--json"]
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)


def problems(client: clipserve.Client, writers: list[Writer], before: list[int]) -> Iterator[str]:
    """What is not in the restored store and should be, or is and should not."""
    plain = {it.id: it for it in client.scroll(PLAIN, with_embeddings=True)}
    kept = {it.id: it for it in client.scroll(KEPT, with_sources=True)}
    for writer, least in zip(writers, before, strict=True):
        count = 0
        while f"w{writer.number}-{count}-0" in plain:
            for i in range(BATCH):
                wanted = writer.plain(count, i)
                found = plain.pop(wanted.id, None)
                if found is None or found.payload != wanted.payload or bytes_of(found) != bytes_of(wanted):
                    yield f"{wanted.id} is not whole"
            count += 1
        if not least <= count <= writer.sent:
            yield f"of writer {writer.number} {count} batches are there, {least} were acknowledged before"
        point = kept[f"w{writer.number}"]
        number = int(str(point.payload["serial"]))
        if not least - 1 <= number < writer.sent or point.image != writer.kept(number).image:
            yield f"{point.id} is that of batch {number}, or has another picture"
    yield from (f"{id} follows a gap" for id in plain if id.startswith("w"))


def bytes_of(point: Any) -> bytes:
    """The embedding of a point."""
    return np.asarray(point.embedding, "<f4").tobytes()


def same(first: clipserve.Client, second: clipserve.Client) -> list[str]:
    """What nobody wrote meanwhile, and what differs in it."""
    found = []
    for collection in (PLAIN, KEPT):
        sides = []
        for client in (first, second):
            points = client.scroll(collection, with_embeddings=True, with_sources=collection == KEPT)
            sides.append(
                [
                    (it.id, dict(it.payload), bytes_of(it), it.image)
                    for it in points
                    if not it.id.startswith("w")
                ]
            )
        if sides[0] != [it for it in sides[1] if it[0] != "after"] or not sides[0]:
            found.append(f"{collection} differs")
    if second.get_collection("best").name != PLAIN or not second.get_collection(KEPT).keep_sources:
        found.append("alias or settings differ")
    if first.get_label_set("birds").labels != second.get_label_set("birds").labels:
        found.append("label set differs")
    return found
