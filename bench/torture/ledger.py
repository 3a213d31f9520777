"""What a tortured store must hold: read from the log of operations, and compared with the store."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from clipserve_gateway.index.base import Document
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.values import PayloadType, Point, Source, TableSpec

DIM = 16
GROUPS = 7
TABLE = TableSpec(
    "tortured",
    DIM,
    {"worker": PayloadType.INT, "group": PayloadType.INT, "serial": PayloadType.INT},
    keep_sources=True,
)


def point(id: str, serial: int) -> Point:
    """The one point that an id and a serial number stand for; sources of 0–64 KiB."""
    chance = np.random.default_rng([serial, *id.encode()])
    vector = chance.standard_normal(DIM).astype(np.float32)
    source = Source("image", chance.bytes(int(chance.integers(2 ** int(chance.integers(17))))))
    payload = {"worker": int(id.split("-")[0]), "group": serial % GROUPS, "serial": serial}
    return Point(id, payload, vector / np.linalg.norm(vector), source, f"file:///{id}/{serial}")


def value(serial: int) -> bytes:
    """The value of a document, of some kilobytes."""
    return np.random.default_rng(serial).bytes(1 + serial % 5000)


class Log:
    """Lines of JSON that are on the disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, line: Mapping[str, Any]) -> None:
        """Appends a line."""
        os.write(self._file, json.dumps(line).encode() + b"\n")
        os.fsync(self._file)


class Ledger:
    """The log, added up.

    Ids belong to one worker, which does one operation after the other; so an id has at most one operation
    under way, and its state is what the acknowledged ones made of it, or that one.
    """

    def __init__(self, log: Path) -> None:
        self.points: dict[str, int] = {}
        """Id → serial number of the point that is there."""
        self.documents: dict[str, int] = {}
        """Key → serial number; it is the version, too."""
        self.pending: dict[str, dict[str, Any]] = {}
        """Worker → its operation under way."""
        self.intents = self.acknowledgements = self.serial = 0
        self.kinds: Counter[str] = Counter()
        # A line that the crash cut off was not written: nothing was done after it.
        lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
        for line in map(json.loads, lines):
            self._add(line)

    def _add(self, line: dict[str, Any]) -> None:
        if "settled" in line:
            for id, serial in line["settled"].items():
                put(self.points, id, serial)
            for key, serial in line["documents"].items():
                put(self.documents, key, serial)
            self.pending.clear()
        elif "ack" in line:
            self.acknowledgements += 1
            operation = self.pending.pop(line["ack"])
            for id, serial in self.effect(operation).items():
                put(self.documents if operation["kind"] == "document" else self.points, id, serial)
        else:
            self.intents += 1
            self.kinds[line["kind"]] += 1
            self.serial = max(self.serial, line["serial"])
            self.pending[line["worker"]] = line

    def effect(self, operation: Mapping[str, Any]) -> dict[str, int | None]:
        """Id (or key) → serial number once the operation is done; None where it deletes."""
        kind, serial = operation["kind"], operation["serial"]
        if kind == "delete where":
            worker, group = operation["worker"], operation["group"]
            mine = {id: it for id, it in self.points.items() if id.split("-")[0] == worker}
            return {id: None for id, it in mine.items() if it % GROUPS == group}
        if kind == "delete":
            return dict.fromkeys(operation["ids"])
        if kind == "insert":
            return {id: self.points.get(id, serial) for id in operation["ids"]}
        return dict.fromkeys(operation["ids"], serial)


def put(states: dict[str, int], id: str, serial: int | None) -> None:
    """Notes what became of an id."""
    if serial is None:
        states.pop(id, None)
    else:
        states[id] = serial


async def check(folder: Path) -> dict[str, Any]:
    """Compares the store with the log: `wrong` things, and how many of the ids `under_way` were `applied`.

    Notes in the log what became of those, for the next time.
    """
    ledger, wrong = Ledger(folder / "log"), []
    engine = LanceEngine(str(folder / "store"))
    stored = await contents(engine)
    documents = await engine.documents("")
    if len(stored) != len({it.id for it in stored}):
        wrong.append("an id is there twice")
    if (count := await engine.count(TABLE)) != len(stored):
        wrong.append(f"{count} points are counted, {len(stored)} are there")
    allowed = {id: {serial} for id, serial in ledger.points.items()}
    allowed_documents = {key: {serial} for key, serial in ledger.documents.items()}
    under_way: dict[str, int | None] = {}
    for operation in ledger.pending.values():
        of_documents = operation["kind"] == "document"
        before, into = (ledger.documents, allowed_documents) if of_documents else (ledger.points, allowed)
        for id, serial in ledger.effect(operation).items():
            into.setdefault(id, {before.get(id)}).add(serial)
            if not of_documents and serial != before.get(id):
                under_way[id] = serial
    there = {it.id: it for it in stored}
    wrong += [
        problem
        for id in allowed.keys() | there.keys()
        if (problem := differs(id, there.get(id), allowed.get(id)))
    ]
    wrong += wrong_documents({it.key: it for it in documents}, allowed_documents)
    wrong += await unfindable(engine, stored[:: max(1, len(stored) // 20)])
    await engine.close()
    serials = {id: it.payload["serial"] if (it := there.get(id)) else None for id in allowed}
    log = Log(folder / "log")
    log.write({"settled": serials, "documents": {it.key: it.version for it in documents}})
    applied = sum(serials.get(id) == serial for id, serial in under_way.items())
    return {"wrong": wrong, "under_way": len(under_way), "applied": applied}


async def contents(engine: LanceEngine) -> list[Point]:
    """All points of the store, with everything."""
    found: list[Point] = []
    after = ""
    while page := await engine.scroll(TABLE, after=after, limit=200, with_embeddings=True, with_sources=True):
        found += page
        after = page[-1].id
    return found


def differs(id: str, stored: Point | None, allowed: set[int | None] | None) -> str:
    """What is wrong with a point; empty if nothing is."""
    serial = stored.payload.get("serial") if stored else None
    if serial not in (allowed or {None}):
        return f"point {id} is {serial}, not one of {sorted(map(str, allowed or {None}))}"
    if stored is not None and (why := unlike(stored, point(id, int(str(serial))))):
        return f"point {id}: {why}"
    return ""


def unlike(stored: Point, meant: Point) -> str:
    """Which part of a stored point is not as it was written."""
    assert stored.embedding is not None
    assert meant.embedding is not None
    same = {
        "payload": stored.payload == meant.payload,
        "embedding": stored.embedding.tobytes() == meant.embedding.tobytes(),
        "source": stored.source == meant.source,
        "source_uri": stored.source_uri == meant.source_uri,
    }
    return ", ".join(f"its {part} is another" for part, equal in same.items() if not equal)


def wrong_documents(there: Mapping[str, Document], allowed: Mapping[str, set[int | None]]) -> list[str]:
    """What is wrong with the documents."""
    wrong = []
    for key in allowed.keys() | there.keys():
        version = there[key].version if key in there else None
        if version not in allowed.get(key, {None}):
            wrong.append(f"document {key} has version {version}, not one of {allowed.get(key)}")
        elif version is not None and there[key].value != value(version):
            wrong.append(f"document {key} has another value")
    return wrong


async def unfindable(engine: LanceEngine, points: list[Point]) -> list[str]:
    """Points that a search for themselves does not find."""
    missing = []
    for it in points:
        assert it.embedding is not None
        hits = await engine.search(TABLE, it.embedding, top_k=3)
        if it.id not in [hit.id for hit in hits]:
            missing.append(f"point {it.id} is not found by its embedding")
    return missing
