"""The store behind the gateway: its catalog is lost, the power is cut, points are to be gone for good."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import clipserve
import numpy as np
from clipserve import Point

from faults.fault_env import FaultEnv
from faults.flows import embedding
from faults.row import Promise, at_most, row
from faults.watch import metric, wait_until
from testing.service import BIN

COLLECTIONS = ("first", "second")
POINTS = 50
CATALOG = "clipserve_catalog.lance"
RECOVERY = 10.0
"""Seconds; the gateway looks at the store again at writes, every 5 s at most."""


def points(name: str) -> list[Point]:
    """Points with known vectors."""
    return [Point(f"{name}-{n}", embedding=np.frombuffer(embedding(n), "<f4")) for n in range(POINTS)]


def contents(client: clipserve.Client, name: str) -> dict[str, bytes]:
    """Id → vector of every point of a collection."""
    found = client.scroll(name, with_embeddings=True)
    return {it.id: np.asarray(it.embedding, "<f4").tobytes() for it in found}


def refusal(client: clipserve.Client, name: str) -> str:
    """What a write is answered."""
    try:
        client.upsert(name, points("late")[:1])
    except clipserve.ClipserveError as error:
        return f"{error.code} {error.reason}"
    return "OK"


def store_command(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`clipserve-gateway store`."""
    command = [str(BIN / "clipserve-gateway"), "store", *words, "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@row("lost-catalog")
def lost_catalog(env: FaultEnv) -> Iterator[Promise]:
    """The catalog is replaced by a copy that is older than a collection, then removed, while the gateway is
    stopped; then it is rebuilt from the tables."""
    _, triton, _ = env.service()
    data, copy = env.subfolder("data"), env.subfolder("copy") / CATALOG
    meant: dict[str, dict[str, bytes]] = {}
    gateway = env.gateway(triton.address, data=str(data))
    with clipserve.Client(gateway.address, retry=None) as client:
        for name in COLLECTIONS:
            client.create_collection(name)
            client.upsert(name, points(name))
            meant[name] = contents(client, name)
            if not copy.exists():
                shutil.copytree(data / CATALOG, copy)
    gateway.stop()
    tables = sorted(path.name for path in data.glob("c_*.lance"))

    shutil.rmtree(data / CATALOG)
    shutil.copytree(copy, data / CATALOG)
    gateway = env.gateway(triton.address, data=str(data))
    with clipserve.Client(gateway.address, retry=None) as client:
        seen = refusal(client, "first")
        yield Promise(
            "an older catalog: writes are refused", seen, seen == "FAILED_PRECONDITION STORE_NOT_WRITABLE"
        )
        same = contents(client, "first") == meant["first"]
        yield Promise("and what it lists can be read", "byte for byte" if same else "not the same", same)
        writable = metric(gateway.http, "clipserve_store_writable")
        yield Promise("clipserve_store_writable says so", f"{writable:g}", writable == 0)
    told = "store rebuild" in gateway.log.read_text()
    yield Promise("the log says how to restore it", "yes" if told else "no", told)
    gateway.stop()

    shutil.rmtree(data / CATALOG)
    gateway = env.gateway(triton.address, data=str(data))
    with clipserve.Client(gateway.address, retry=None) as client:
        try:
            client.create_collection("third")
            seen = "OK"
        except clipserve.ClipserveError as error:
            seen = f"{error.code} {error.reason}"
        yield Promise(
            "no catalog: creates are refused", seen, seen == "FAILED_PRECONDITION STORE_NOT_WRITABLE"
        )
        there = sorted(path.name for path in data.glob("c_*.lance"))
        yield Promise("no table is deleted", f"{len(there)} of {len(tables)} left", there == tables)
        done = store_command(data, "rebuild")
        yield Promise("the rebuild succeeds", f"exit code {done.returncode}", done.returncode == 0)
        found = {name: contents(client, name) for name in COLLECTIONS}
        lost = sum(meant[name] != found[name] for name in COLLECTIONS)
        yield Promise("and every collection is back, byte for byte", f"{lost} lost", lost == 0)
        again = wait_until(lambda: refusal(client, "first") == "OK", RECOVERY)
        yield at_most("writes are taken again, without a restart, within", again, RECOVERY)
    gateway.stop()


@row("purge", quick=True)
def purge(env: FaultEnv) -> Iterator[Promise]:
    """Points are deleted and replaced, and a collection is dropped; the data folder is searched for their
    vectors and payloads, before and after a purge."""
    _, triton, _ = env.service()
    data = env.subfolder("data")
    gateway = env.gateway(triton.address, data=str(data))
    with clipserve.Client(gateway.address, retry=None) as client:
        client.create_collection("kept", schema={"word": "string"})
        client.create_collection("dropped", schema={"word": "string"})
        client.upsert("kept", [with_word(f"kept-{n}", f"stays-{n}", n) for n in range(POINTS)])
        client.upsert("dropped", [with_word("d", "word-of-dropped", 1)])
        client.upsert("kept", [with_word("kept-0", "after-replace", 1_000)])
        client.delete_points("kept", ["kept-1"])
        client.delete_points("kept", filter="word == 'stays-2!'")
        gone = [embedding(n) for n in (0, 1, 2)] + [f"stays-{n}".encode() + b"!" for n in (0, 1, 2)]
        before = bytes_found(data, gone)
        yield Promise("the bytes are there before", f"{before} of {len(gone)}", before > 0)
        client.purge_collection("kept")
        client.delete_collection("dropped")
        after = bytes_found(data, [*gone, b"word-of-dropped"])
        yield Promise("after a purge and a drop none is in any file", f"{after} found", after == 0)
        left = client.count("kept")
        yield Promise("what was not deleted is there", f"{left} points", left == POINTS - 2)
        same = contents(client, "kept")["kept-5"] == embedding(5)
        yield Promise("byte for byte", "yes" if same else "no", same)
    gateway.stop()


def with_word(id: str, word: str, serial: int) -> Point:
    """A point with a payload and a known vector."""
    return Point(id, embedding=np.frombuffer(embedding(serial), "<f4"), payload={"word": f"{word}!"})


def bytes_found(folder: Path, wanted: list[bytes]) -> int:
    """How many of the byte strings are in some file of a folder."""
    content = b"\0".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return sum(it in content for it in wanted)
