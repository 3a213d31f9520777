from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from clipserve_gateway.process import watched_files
from clipserve_gateway.process.watched_files import BadFile, Watched, read_bytes, watch


def text_of(path: Path) -> Watched[str]:
    """Watches a file, which is not valid if it contains `bad`."""

    def read() -> str:
        text = read_bytes(str(path), "a_setting").decode()
        if "bad" in text:
            raise BadFile("a_setting: bad")
        return text

    return Watched([str(path)], read)


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "file"
    path.write_text("one")
    return path


def test_what_cannot_be_used_at_first_is_an_error_that_names_the_setting(tmp_path, path):
    with pytest.raises(BadFile, match=r"a_setting: .*missing cannot be read \(No such file"):
        text_of(tmp_path / "missing")
    path.write_text("bad")
    with pytest.raises(BadFile, match="a_setting: bad"):
        text_of(path)


def test_a_change_is_read(path):
    watched = text_of(path)
    path.write_text("two")
    watched.refresh()
    assert watched.value == "two"


def test_a_change_that_keeps_size_and_time_is_read(path):
    watched = text_of(path)
    times = path.stat()
    path.write_text("two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    watched.refresh()
    assert watched.value == "two"


def test_a_symlink_that_leads_elsewhere_is_a_change(tmp_path):
    """Changes files as Kubernetes changes mounted Secrets: file → ..data/file, ..data → a new folder."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "file").symlink_to("..data/file")
    watched = text_of(tmp_path / "file")
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").rename(tmp_path / "..data")
    watched.refresh()
    assert watched.value == "two"


def test_what_has_not_changed_is_not_read(path):
    reads = []
    watched = Watched([str(path)], lambda: reads.append(path.read_text()))
    for _ in range(5):
        watched.refresh()
    assert reads == ["one"]


@pytest.mark.parametrize("broken", ["bad", None])
def test_a_change_that_cannot_be_used_is_told_once_and_leaves_what_there_was(path, caplog, broken):
    watched = text_of(path)
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    for _ in range(3):
        watched.refresh()
    assert watched.value == "one"
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert errors[0].startswith("a_setting: ")
    assert errors[0].endswith("the previous content stays in use")
    path.write_text("good again")
    watched.refresh()
    assert watched.value == "good again"


def test_what_nobody_thought_of_does_not_end_the_looking(path, caplog):
    watched = Watched([str(path)], lambda: path.read_bytes().decode())
    path.write_bytes(b"s3cret \xff")
    watched.refresh()
    assert watched.value == "one"
    assert f"{path}: UnicodeDecodeError; the previous content stays in use" in caplog.text
    assert "s3cret" not in caplog.text
    path.write_text("two")
    watched.refresh()
    assert watched.value == "two"


def test_a_file_that_is_being_written_is_left_for_the_next_look(path, caplog):
    halves = iter(["half", "whole"])

    def read() -> str:
        text = path.read_text()
        if text == "two":
            path.write_text(next(halves))
        return text

    watched = Watched([str(path)], read)
    path.write_text("two")
    watched.refresh()
    assert watched.value == "one", "what was read may belong to two versions"
    watched.refresh()
    assert watched.value == "half"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_watching_sees_changes_by_itself(path, monkeypatch):
    monkeypatch.setattr(watched_files, "LOOK_SECONDS", 0.01)
    watched = text_of(path)
    task = asyncio.create_task(watch([watched]))
    path.write_text("two")
    for _ in range(500):
        if watched.value == "two":
            break
        await asyncio.sleep(0.01)
    task.cancel()
    assert watched.value == "two"
