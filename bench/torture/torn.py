"""What a crash of a machine could do to files, done to copies of a store that a killed process left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import lance
from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.index.lance.engine import LanceEngine

from bench.torture.ledger import TABLE, contents, point, unlike

NEW_ID = "0-new"


async def torn_disk(folder: Path) -> list[tuple[str, str, bool]]:
    """For each harm: the promise, what was seen, whether it was kept."""
    store = folder / "store"
    now, before = await state(store), await state_before(store, folder / "before")
    cases: list[tuple[str, Callable[[Path], None], list[dict[str, int]], bool]] = [
        ("stray files are passed over", leave_strays, [now], False),
        ("unfinished data files are passed over", tear_unreferenced, [now], False),
        ("without its last manifest the store is as before that commit", remove_manifest, [before], False),
        ("a torn last manifest gives an error or the state before", tear_manifest, [now, before], True),
        ("an empty last manifest gives an error or the state before", empty_manifest, [now, before], True),
        ("a torn data file gives an error, never other data", tear_data, [now], True),
    ]
    return [await harmed(folder, *case) for case in cases]


async def harmed(
    folder: Path,
    promise: str,
    harm: Callable[[Path], None],
    allowed: list[dict[str, int]],
    may_fail: bool,
) -> tuple[str, str, bool]:
    """Harms a copy, opens it, compares, and writes to it."""
    copy = folder / "torn"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "store", copy)
    harm(copy / f"{TABLE.name}.lance")
    try:
        seen = await state(copy)
        if seen not in allowed:
            return promise, f"{len(seen)} points in a state that never was", False
        await write_and_find(copy)
    except StorageFailed as error:
        return promise, f"an error: {error.message}", may_fail
    return promise, f"{len(seen)} points as they should be, and it takes new ones", True


async def state(store: Path) -> dict[str, int]:
    """Id → serial number of each point; −1 where a byte is not as it was written."""
    engine = LanceEngine(str(store))
    try:
        found = await contents(engine)
    finally:
        await engine.close()
    assert len(found) == len({it.id for it in found})
    return {
        it.id: -1
        if unlike(it, point(it.id, int(str(it.payload["serial"]))))
        else int(str(it.payload["serial"]))
        for it in found
    }


async def state_before(store: Path, copy: Path) -> dict[str, int]:
    """The state before the last commit, by way of Lance's own history."""
    shutil.copytree(store, copy)
    path = str(copy / f"{TABLE.name}.lance")
    versions = [version["version"] for version in lance.dataset(path).versions()]
    lance.dataset(path, version=versions[-2]).restore()
    return await state(copy)


async def write_and_find(store: Path) -> None:
    """A harmed store that opens must also take points."""
    engine = LanceEngine(str(store))
    try:
        await engine.upsert(TABLE, [point(NEW_ID, 1)])
        await engine.optimize(TABLE)
        [found] = await engine.fetch(TABLE, [NEW_ID], with_embeddings=True, with_sources=True)
        assert not unlike(found, point(NEW_ID, 1))
    finally:
        await engine.close()


def leave_strays(table: Path) -> None:
    """As of writes that were begun: temporary names, and names that no manifest knows."""
    strays = [
        "data/0123.lance#1",
        "data/stray.lance",
        "_versions/.tmp_7.manifest_0123",
        "_deletions/0-1-2.arrow",
    ]
    for name in [*strays, "_transactions/9-stray.txn", "_indices/stray/index.idx"]:
        (table / name).parent.mkdir(parents=True, exist_ok=True)
        (table / name).write_bytes(b"\x00" * 100)


def tear_unreferenced(table: Path) -> None:
    """As of a commit whose data was on its way: files without a manifest, one cut in half, one of zeros."""
    newest = newest_file(table / "data").read_bytes()
    (table / "data" / "unfinished.lance").write_bytes(newest[: len(newest) // 2])
    (table / "data" / "zeros.lance").write_bytes(bytes(len(newest)))
    known = {
        file.path
        for version in lance.dataset(str(table)).versions()
        for fragment in lance.dataset(str(table), version=version["version"]).get_fragments()
        for file in fragment.data_files()
    }
    for path in (table / "data").iterdir():
        if path.name not in known:
            os.truncate(path, path.stat().st_size // 2)


def remove_manifest(table: Path) -> None:
    """As if the last commit had never reached the disk."""
    newest_manifest(table).unlink()


def tear_manifest(table: Path) -> None:
    """As if half of the last commit's manifest had reached the disk."""
    path = newest_manifest(table)
    os.truncate(path, path.stat().st_size // 2)


def empty_manifest(table: Path) -> None:
    """As if the last commit's manifest had a name and no content yet."""
    os.truncate(newest_manifest(table), 0)


def tear_data(table: Path) -> None:
    """As if half of a data file had reached the disk, of all that the newest version needs."""
    for fragment in lance.dataset(str(table)).get_fragments():
        for file in fragment.data_files():
            path = table / "data" / file.path
            os.truncate(path, path.stat().st_size // 2)


def newest_manifest(table: Path) -> Path:
    """Of the newest version; names count down from 2^64 − 1."""
    manifests = [path for path in (table / "_versions").iterdir() if path.name.endswith(".manifest")]
    return min(manifests, key=lambda path: int(path.stem))


def newest_file(folder: Path) -> Path:
    """The one written last."""
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime)
