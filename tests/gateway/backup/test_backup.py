"""Backups of a whole store: everything comes back as it was, and what is damaged is refused by name."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys

import lance
import numpy as np
import pytest
from click.testing import CliRunner
from clipserve_gateway.backup import manifest as backup_manifest
from clipserve_gateway.backup import take as taking
from clipserve_gateway.backup.errors import BackupError
from clipserve_gateway.backup.restore import check, restore
from clipserve_gateway.backup.take import take
from clipserve_gateway.cli import main
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.label_sets import LabelSets
from clipserve_gateway.collection.spec import CollectionSpec, Generation, Migration, MigrationState
from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.index import store_format
from clipserve_gateway.index.engines import open_engine
from clipserve_gateway.index.lance.backup import TableCopier, TableVanished
from clipserve_gateway.index.values import PayloadType, Point, Source
from clipserve_gateway.types import LabelSet, LabelSetRef

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
SCHEMA = {"year": PayloadType.INT, "tags": PayloadType.STRING_LIST}
DIM = 8


@contextlib.contextmanager
def quiet(what, total):
    yield lambda done: None


def points(first, count):
    """Points with all that a point can have."""
    made = np.random.default_rng(first).normal(size=(count, DIM)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return [
        Point(
            f"p{first + i}",
            {"year": i, "tags": ["a", f"{i}"]} if i % 3 else {},
            row,
            Source("image", os.urandom(200)) if i % 2 else Source("text", "ein Hünd".encode()),
            f"file:///{i}",
        )
        for i, row in enumerate(made)
    ]


class Store:
    """A store with everything in it that a store can hold."""

    def __init__(self, uri):
        self.uri = str(uri)
        self.engine = open_engine(self.uri)
        self.catalog = Catalog(self.engine)

    async def fill(self):
        pets = CollectionSpec("pets", SCHEMA, NOW, Generation("c_pets_1_1", "m", "f" * 64, DIM), True)
        await self.catalog.create(pets)
        await self.engine.upsert(pets.table, points(0, 40))
        await self.engine.upsert(pets.table, points(20, 40))
        await self.engine.delete(pets.table, ["p3", "p50"])
        moving = CollectionSpec("moving", {}, NOW, Generation("c_moving_1_1", "m", "f" * 64, DIM))
        await self.catalog.create(moving)
        other = Generation("c_moving_1_2", "n", "e" * 64, 4)
        await self.engine.create_table(moving.table_of(other))
        plain = [Point(f"p{i}", {}, np.eye(DIM, dtype=np.float32)[i]) for i in range(4)]
        await self.engine.upsert(moving.table, plain)
        await self.engine.upsert(moving.table_of(other), [Point("p0", {}, np.eye(4, dtype=np.float32)[0])])
        migration = Migration(MigrationState.RUNNING, other, NOW, total=4, done=1, cursor="p0", beat=7)

        def move(spec):
            return CollectionSpec(spec.name, {}, NOW, spec.serving, migration=migration)

        await self.catalog.update("moving", move)
        await self.catalog.put_alias("best", "pets")
        await LabelSets(self.engine).put("birds", LabelSet(("owl", "kite"), ("a {}",)))
        return self

    async def content(self):
        """All that is in it, as plain values."""
        documents = {it.key: (it.value, it.version) for it in await self.engine.documents("")}
        found = {}
        for spec in await self.catalog.all():
            for generation in spec.generations:
                rows = await self.engine.scroll(
                    spec.table_of(generation),
                    after="",
                    limit=10_000,
                    with_embeddings=True,
                    with_sources=spec.keep_sources,
                )
                found[generation.table] = [
                    (it.id, it.payload, it.embedding.tobytes(), it.source, it.source_uri) for it in rows
                ]
        return documents, found

    async def close(self):
        await self.catalog.close()
        await self.engine.close()


@pytest.fixture
async def store(tmp_path):
    made = await Store(tmp_path / "data").fill()
    yield made
    await made.close()


@pytest.fixture
async def backup(store, tmp_path):
    """The folder of a backup."""
    await take(store.uri, tmp_path / "backup", quiet)
    return tmp_path / "backup"


async def test_everything_comes_back_byte_for_byte(store, backup, tmp_path):
    manifest = await restore(backup, str(tmp_path / "again"), quiet)
    assert (manifest.collections, manifest.aliases, manifest.label_sets) == ({"moving": 4, "pets": 58}, 1, 1)
    again = Store(tmp_path / "again")
    try:
        assert await again.content() == await store.content()
        assert (await again.catalog.get("best")).name == "pets"
        assert (await again.catalog.get("moving")).migration.cursor == "p0"
        labels = await LabelSets(again.engine).get(LabelSetRef("birds"))
        assert labels.labels.names == ("owl", "kite")
        # It goes on from there.
        pets = await again.catalog.get("pets")
        await again.engine.upsert(pets.table, points(500, 3))
        assert await again.engine.count(pets.table) == 61
    finally:
        await again.close()


async def test_backups_and_restored_stores_are_their_owners_alone(backup, tmp_path):
    before = os.umask(0)
    try:
        await restore(backup, str(tmp_path / "again"), quiet)
    finally:
        os.umask(before)
    for folder in (backup, tmp_path / "again"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_what_was_deleted_before_an_update_of_files_stays_deleted(store, backup, tmp_path):
    await restore(backup, str(tmp_path / "again"), quiet)
    again = Store(tmp_path / "again")
    try:
        pets = await again.catalog.get("pets")
        assert await again.engine.fetch(pets.table, ["p3", "p50"]) == []
    finally:
        await again.close()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def link(path):
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def data_file(backup):
    return sorted(backup.glob("store/c_pets_1_1.lance/data/*"))[0]


@pytest.mark.parametrize("damage", [truncate, flip, os.unlink, link])
@pytest.mark.parametrize("which", [data_file, lambda backup: backup / "manifest.json"])
async def test_damage_is_refused_and_named(backup, tmp_path, damage, which):
    damaged = which(backup)
    if damage is link and damaged.name == "manifest.json":
        pytest.skip("a link to the whole manifest is the whole manifest")
    damage(damaged)
    with pytest.raises(BackupError, match=damaged.name):
        await restore(backup, str(tmp_path / "again"), quiet)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["store/c_pets_1_1.lance/data/x.lance", "notes.txt", "store/x.lance/a"])
async def test_a_file_that_does_not_belong_is_refused(backup, tmp_path, name):
    (backup / name).parent.mkdir(exist_ok=True)
    (backup / name).write_text("x")
    with pytest.raises(BackupError, match=f"{name} does not belong"):
        await restore(backup, str(tmp_path / "again"), quiet)
    assert not (tmp_path / "again").exists()


def rewrite(backup, change):
    """Changes the manifest, with a checksum that fits."""
    facts = json.loads((backup / "manifest.json").read_text())
    change(facts)
    content = json.dumps(facts).encode()
    (backup / "manifest.json").write_bytes(content)
    (backup / "manifest.sha256").write_text(hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda facts: facts.update(backup_format=2), "newer gateway"),
        (lambda facts: facts.update(store_format=2), "newer gateway"),
        (lambda facts: facts["files"].update({"store/../../x": {"bytes": 1, "sha256": ""}}), "outside"),
        (lambda facts: facts["files"].update({"/etc/passwd": {"bytes": 1, "sha256": ""}}), "outside"),
        (
            lambda facts: facts["tables"].update({"../x": {"rows": 1, "version": 1}}),
            "not the name of a table",
        ),
        (lambda facts: facts.pop("tables"), "cannot be read"),
        (lambda facts: facts["tables"].pop("clipserve_catalog"), "the catalog is not among the tables"),
        (lambda facts: next(iter(facts["files"].values())).update(bytes="1"), "not a whole number"),
        (lambda facts: facts.update(aliases="1"), "a count is not a whole number"),
        (lambda facts: facts["collections"].update(pets=None), "a count is not a whole number"),
        (lambda facts: facts["tables"]["c_pets_1_1"].update(rows=1), "has 58 rows, not 1"),
    ],
)
async def test_manifests_that_do_not_fit_are_refused(backup, tmp_path, change, words):
    rewrite(backup, change)
    with pytest.raises(BackupError, match=words):
        await restore(backup, str(tmp_path / "again"), quiet)
    assert not (tmp_path / "again").exists()


async def test_half_a_backup_is_not_taken_for_one(backup, tmp_path):
    shutil.copytree(backup / "store", tmp_path / "half" / "store")
    with pytest.raises(BackupError, match=r"manifest\.json cannot be read"):
        await restore(tmp_path / "half", str(tmp_path / "again"), quiet)


async def test_nothing_is_restored_over_anything(store, backup, tmp_path):
    before = await store.content()
    with pytest.raises(BackupError, match="is not empty"):
        await restore(backup, store.uri, quiet)
    assert await store.content() == before
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "note").write_text("mine")
    with pytest.raises(BackupError, match=r"is not empty \(note\)"):
        await restore(backup, str(tmp_path / "used"), quiet)
    (tmp_path / "mounted" / "lost+found").mkdir(parents=True)
    await restore(backup, str(tmp_path / "mounted"), quiet)


async def test_a_manifest_nested_too_deep_is_refused(backup, tmp_path):
    content = b"[" * 200_000
    (backup / "manifest.json").write_bytes(content)
    (backup / "manifest.sha256").write_text(hashlib.sha256(content).hexdigest())
    with pytest.raises(BackupError, match="cannot be read"):
        await restore(backup, str(tmp_path / "again"), quiet)


async def test_a_manifest_that_no_restore_would_read_is_not_written(backup, tmp_path, monkeypatch):
    size = (backup / "manifest.json").stat().st_size
    store = tmp_path / "again"
    await restore(backup, str(store), quiet)
    monkeypatch.setattr(backup_manifest, "MAX_SMALL", size // 2)
    with pytest.raises(BackupError, match=r"the store has \d+ files.*`clipserve export`; nothing was kept"):
        await take(str(store), tmp_path / "second", quiet)
    assert not [path for path in tmp_path.iterdir() if "second" in path.name]
    monkeypatch.setattr(backup_manifest, "MAX_SMALL", 2 * size)
    await take(str(store), tmp_path / "second", quiet)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256"])
async def test_a_pipe_in_the_place_of_a_manifest_is_refused_at_once(backup, tmp_path, name):
    (backup / name).unlink()
    os.mkfifo(backup / name)
    with pytest.raises(BackupError, match="not a regular file"):
        await restore(backup, str(tmp_path / "again"), quiet)


async def test_backup_and_store_do_not_lie_in_each_other(store, backup, tmp_path):
    for inside in (backup, backup / "store", backup / "store" / "new", backup / ".." / "backup" / "new"):
        with pytest.raises(BackupError, match="lies in the backup"):
            await restore(backup, str(inside), quiet)
    await check(backup, quiet)
    for inside in (tmp_path / "data" / "new.lance", tmp_path / "data" / ".." / "data" / "new"):
        with pytest.raises(BackupError, match="lies in the store"):
            await take(store.uri, inside, quiet)


async def test_a_store_whose_catalog_is_older_than_its_tables_is_not_backed_up(store, tmp_path):
    table = next(it.name for it in (tmp_path / "data").glob("c_pets_*.lance"))
    shutil.copytree(tmp_path / "data" / table, tmp_path / "data" / "c_other_6b0d327b_a7e2e65d.lance")
    with pytest.raises(BackupError, match="the catalog does not know 1 table"):
        await take(store.uri, tmp_path / "partial", quiet)
    assert not (tmp_path / "partial").exists()


async def test_a_backup_is_not_written_over_anything(store, backup, tmp_path):
    with pytest.raises(BackupError, match="is there already"):
        await take(store.uri, backup, quiet)
    with pytest.raises(BackupError, match="there is no folder"):
        await take(store.uri, tmp_path / "no" / "backup", quiet)
    with pytest.raises(BackupError, match="there is no store"):
        await take(str(tmp_path / "nothing"), tmp_path / "other", quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "data"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("x: os error 28")])
async def test_a_full_disk_leaves_nothing_behind(store, tmp_path, monkeypatch, error):
    real = TableCopier.copy

    async def copy(self, table, target):
        if "pets" not in table:
            return await real(self, table, target)
        os.makedirs(target)
        raise StorageFailed("the disk is full") if isinstance(error, RuntimeError) else error

    monkeypatch.setattr(TableCopier, "copy", copy)
    with pytest.raises(BackupError, match="full"):
        await take(store.uri, tmp_path / "backup", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


async def test_a_restore_that_fails_leaves_nothing_behind(backup, tmp_path, monkeypatch):
    async def count(self, table):
        raise StorageFailed("the disk is full")

    monkeypatch.setattr(TableCopier, "count", count)
    (tmp_path / "mounted").mkdir()
    for place in ("again", "mounted"):
        with pytest.raises(BackupError, match="full"):
            await restore(backup, str(tmp_path / place), quiet)
    assert not (tmp_path / "again").exists()
    assert list((tmp_path / "mounted").iterdir()) == []


async def test_a_collection_that_is_dropped_meanwhile_is_not_in_the_backup(store, tmp_path, monkeypatch):
    real = TableCopier.copy
    dropped = []

    async def copy(self, table, target):
        if table == "c_pets_1_1" and not dropped:
            dropped.append(table)
            await store.catalog.delete_alias("best")
            await store.catalog.drop("pets")
        return await real(self, table, target)

    monkeypatch.setattr(TableCopier, "copy", copy)
    manifest = await take(store.uri, tmp_path / "backup", quiet)
    assert manifest.collections == {"moving": 4}
    await restore(tmp_path / "backup", str(tmp_path / "again"), quiet)


async def test_a_store_that_never_stands_still_is_given_up(store, tmp_path, monkeypatch):
    async def copy(self, table, target):
        raise TableVanished("gone")

    monkeypatch.setattr(TableCopier, "copy", copy)
    with pytest.raises(BackupError, match="3 times"):
        await take(store.uri, tmp_path / "backup", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


async def test_old_versions_stay_while_they_are_copied(store, tmp_path, monkeypatch):
    """The maintenance of a gateway does not get the table's lease meanwhile."""
    real = TableCopier.copy
    got = []

    async def copy(self, table, target):
        copied = await real(self, table, target)
        if table != "clipserve_catalog":
            other = await (TableCopier(store.uri)).opened()
            async with (await other.lease(table)).held() as mine:
                got.append(mine)
        return copied

    async def opened(self):
        await self.open()
        return self

    monkeypatch.setattr(TableCopier, "opened", opened, raising=False)
    monkeypatch.setattr(TableCopier, "copy", copy)
    await take(store.uri, tmp_path / "backup", quiet)
    assert got == [False] * 3


async def test_a_table_under_maintenance_is_waited_for_only_so_long(store, tmp_path, monkeypatch):
    monkeypatch.setattr(taking, "LEASE_SECONDS", 0.2)
    other = TableCopier(store.uri)
    await other.open()
    async with (await other.lease("c_pets_1_1")).held():
        with pytest.raises(BackupError, match="c_pets_1_1 is under maintenance"):
            await take(store.uri, tmp_path / "backup", quiet)
    await other.close()


async def test_a_backup_under_writes_holds_what_was_acknowledged_before(store, tmp_path):
    pets = await store.catalog.get("pets")
    stop = asyncio.Event()

    async def write():
        number = 1000
        while not stop.is_set():
            await store.engine.upsert(pets.table, points(number, 5))
            number += 5

    before = {it.id for it in await store.engine.scroll(pets.table, after="", limit=10_000)}
    writing = asyncio.create_task(write())
    await asyncio.sleep(0)
    try:
        await take(store.uri, tmp_path / "backup", quiet)
    finally:
        stop.set()
        await writing
    await restore(tmp_path / "backup", str(tmp_path / "again"), quiet)
    again = Store(tmp_path / "again")
    try:
        rows = await again.engine.scroll(pets.table, after="", limit=10_000)
        ids = {it.id for it in rows}
        assert before <= ids
        # Batches are there whole.
        assert (len(ids) - len(before)) % 5 == 0
    finally:
        await again.close()


async def test_indexes_are_backed_up(tmp_path):
    store = Store(tmp_path / "data")
    spec = CollectionSpec("many", {}, NOW, Generation("c_many_1_1", "m", "f" * 64, DIM))
    await store.catalog.create(spec)
    await store.engine.upsert(spec.table, [Point(it.id, {}, it.embedding) for it in points(0, 6000)])
    await store.engine.optimize(spec.table)
    await store.close()
    await take(store.uri, tmp_path / "backup", quiet)
    await restore(tmp_path / "backup", str(tmp_path / "again"), quiet)
    paths = [str(tmp_path / name / "c_many_1_1.lance") for name in ("data", "again")]
    indexed = [
        {it.name: it.num_rows_indexed for it in lance.dataset(path).describe_indices()} for path in paths
    ]
    assert indexed[0] == indexed[1]
    assert 6000 in indexed[1].values()


async def test_stores_without_a_format_open_and_newer_ones_are_refused(store, tmp_path):
    document = await store.engine.get_document(store_format.KEY)
    assert json.loads(document.value) == {"format": store_format.FORMAT}
    # As gateways wrote it before they knew of formats.
    await store.engine.delete_document(store_format.KEY, version=1)
    older = open_engine(store.uri)
    await older.open()
    assert await older.get_document(store_format.KEY) is None
    await older.close()
    value = json.dumps({"format": store_format.FORMAT + 1}).encode()
    await store.engine.put_document(store_format.KEY, value, version=0)
    newer = open_engine(store.uri)
    for call in (newer.open(), newer.get_document("x"), newer.documents(""), newer.tables()):
        with pytest.raises(StorageFailed, match="format 2, and this gateway reads formats up to 1"):
            await call
    with pytest.raises(BackupError, match="format 2"):
        await take(store.uri, tmp_path / "backup", quiet)


async def test_a_format_that_cannot_be_read_is_refused(store):
    await store.engine.put_document(store_format.KEY, b"?", version=1)
    with pytest.raises(StorageFailed, match="store/format"):
        await open_engine(store.uri).open()


def test_the_commands_say_what_they_did(tmp_path):
    async def fill():
        await (await Store(tmp_path / "data").fill()).close()

    def invoke(*words):
        return CliRunner().invoke(main, [str(word) for word in words])

    asyncio.run(fill())
    done = invoke("backup", tmp_path / "b", "--data", tmp_path / "data")
    assert done.exit_code == 0, done.output
    assert "2 collections with 62 points, 1 aliases, 1 label sets" in done.output
    done = invoke("restore", tmp_path / "b", "--check", "--json")
    assert json.loads(done.stdout)["collections"] == {"moving": 4, "pets": 58}
    done = invoke("restore", tmp_path / "b", "--data", tmp_path / "new", "--json")
    assert json.loads(done.stdout)["points"] == 62
    done = invoke("restore", tmp_path / "b", "--data", tmp_path / "new")
    assert (done.exit_code, "is not empty" in done.output) == (1, True)
    for words in (("backup", tmp_path / "c"), ("restore", tmp_path / "b")):
        done = invoke(*words, "--data", "milvus://127.0.0.1:1")
        assert done.exit_code == 1
        assert "Milvus's own tools" in done.output


@pytest.mark.slow
def test_a_backup_that_is_stopped_leaves_nothing_behind(tmp_path):
    async def fill():
        await (await Store(tmp_path / "data").fill()).close()

    asyncio.run(fill())
    # Slow enough to be stopped in between.
    code = (
        "import time\n"
        "from clipserve_gateway.index.lance import backup as lance_backup\n"
        "count = lance_backup.data_bytes\n"
        "def data_bytes(dataset):\n"
        "    print('copying', flush=True)\n"
        "    time.sleep(1)\n"
        "    return count(dataset)\n"
        "lance_backup.data_bytes = data_bytes\n"
        "from clipserve_gateway.cli import main\n"
        "main()"
    )
    command = [sys.executable, "-c", code, "backup", tmp_path / "b", "--data", tmp_path / "data"]
    for sent in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout.readline() == b"copying\n"
        process.send_signal(sent)
        _, words = process.communicate(timeout=60)
        assert process.returncode == 1
        assert b"Aborted!" in words
        assert b"Traceback" not in words
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.slow
async def test_stores_in_object_storage_are_backed_up_and_restored(s3, tmp_path):
    """Object storage to folder, and back to object storage."""
    store = await Store(f"s3://{s3}/first").fill()
    content = await store.content()
    await store.close()
    await take(store.uri, tmp_path / "backup", quiet)
    for place in (f"s3://{s3}/second", tmp_path / "local"):
        await restore(tmp_path / "backup", str(place), quiet)
        again = Store(place)
        assert await again.content() == content
        await again.close()
    with pytest.raises(BackupError, match="is not empty"):
        await restore(tmp_path / "backup", f"s3://{s3}/second", quiet)


@pytest.fixture
def s3(monkeypatch):
    """The name of a bucket."""
    from testing.s3_server import BUCKET, s3_server

    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield BUCKET
