"""Manifests: a backup with a damaged, missing or additional file is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import pytest
from clipserve_gateway.backup import manifest as backup_manifest
from clipserve_gateway.backup.files import BackupError
from clipserve_gateway.backup.restore import restore
from clipserve_gateway.backup.take import take

from testing.filled_store import quiet


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
async def test_damage_is_refused_and_named(own_backup, tmp_path, damage, which):
    damaged = which(own_backup)
    if damage is link and damaged.name == "manifest.json":
        pytest.skip("a link to the whole manifest is the whole manifest")
    damage(damaged)
    with pytest.raises(BackupError, match=damaged.name):
        await restore(own_backup, str(tmp_path / "again"), quiet)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["store/c_pets_1_1.lance/data/x.lance", "notes.txt", "store/x.lance/a"])
async def test_a_file_that_does_not_belong_is_refused(own_backup, tmp_path, name):
    (own_backup / name).parent.mkdir(exist_ok=True)
    (own_backup / name).write_text("x")
    with pytest.raises(BackupError, match=f"{name} does not belong"):
        await restore(own_backup, str(tmp_path / "again"), quiet)
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
            "not a valid table name",
        ),
        (lambda facts: facts.pop("tables"), "cannot be read"),
        (lambda facts: facts["tables"].pop("clipserve_catalog"), "the tables do not include the catalog"),
        (lambda facts: next(iter(facts["files"].values())).update(bytes="1"), "not a non-negative integer"),
        (lambda facts: facts.update(aliases="1"), "a count is not a non-negative integer"),
        (lambda facts: facts["collections"].update(pets=None), "a count is not a non-negative integer"),
        (lambda facts: facts["tables"]["c_pets_1_1"].update(rows=1), "has 58 rows, not 1"),
    ],
)
async def test_manifests_that_do_not_fit_are_refused(own_backup, tmp_path, change, words):
    rewrite(own_backup, change)
    with pytest.raises(BackupError, match=words):
        await restore(own_backup, str(tmp_path / "again"), quiet)
    assert not (tmp_path / "again").exists()


async def test_half_a_backup_is_not_taken_for_one(own_backup, tmp_path):
    shutil.copytree(own_backup / "store", tmp_path / "half" / "store")
    with pytest.raises(BackupError, match=r"manifest\.json cannot be read"):
        await restore(tmp_path / "half", str(tmp_path / "again"), quiet)


@pytest.mark.usefixtures("no_garbage_collection")
async def test_a_manifest_nested_too_deep_is_refused(own_backup, tmp_path):
    content = b"[" * 200_000
    (own_backup / "manifest.json").write_bytes(content)
    (own_backup / "manifest.sha256").write_text(hashlib.sha256(content).hexdigest())
    with pytest.raises(BackupError, match="cannot be read"):
        await restore(own_backup, str(tmp_path / "again"), quiet)


async def test_a_manifest_that_no_restore_would_read_is_not_written(own_backup, tmp_path, monkeypatch):
    size = (own_backup / "manifest.json").stat().st_size
    store = tmp_path / "again"
    await restore(own_backup, str(store), quiet)
    monkeypatch.setattr(backup_manifest, "MAX_SMALL", size // 2)
    with pytest.raises(BackupError, match=r"the store has \d+ files.*`clipserve export`. No backup was kept"):
        await take(str(store), tmp_path / "second", quiet)
    assert not [path for path in tmp_path.iterdir() if "second" in path.name]
    monkeypatch.setattr(backup_manifest, "MAX_SMALL", 2 * size)
    await take(str(store), tmp_path / "second", quiet)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256"])
async def test_a_pipe_in_the_place_of_a_manifest_is_refused_at_once(own_backup, tmp_path, name):
    (own_backup / name).unlink()
    os.mkfifo(own_backup / name)
    with pytest.raises(BackupError, match="not a regular file"):
        await restore(own_backup, str(tmp_path / "again"), quiet)
