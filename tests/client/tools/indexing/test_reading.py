"""Pictures as they are read and compared, without a server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from client.pictures import png
from clipserve.tools.indexing.facts import SCHEMA, Picture
from clipserve.tools.indexing.reading import Candidate, Reader
from clipserve.tools.picture_files import PassedOver, find_images

FIELDS = frozenset(SCHEMA)
PIXELS = png(1)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "sea" / "a.png"
    path.parent.mkdir()
    path.write_bytes(PIXELS)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return Picture(tmp_path, path)


@pytest.fixture
def reader():
    return Reader(FIELDS, max_bytes=100_000)


def test_a_new_picture_comes_with_its_facts(picture, reader):
    reading = reader.read(Candidate(picture, None))
    assert (reading.state, reading.content) == ("new", PIXELS)
    assert reading.payload["path"] == picture.id == "sea/a.png"
    assert reading.payload["folder"] == "sea"
    assert reading.payload["bytes"] == len(PIXELS)
    assert reading.payload["modified"].timestamp() == 1_700_000_000
    assert len(reading.payload["content_hash"]) == 64
    assert set(reading.payload) == set(SCHEMA)


def test_the_same_content_is_unchanged_whatever_its_time(picture, reader):
    known = reader.read(Candidate(picture, None)).payload
    os.utime(picture.path)
    reading = reader.read(Candidate(picture, known))
    assert (reading.state, reading.content) == ("unchanged", b"")


def test_other_content_of_the_same_size_and_time_is_changed_unless_times_are_trusted(picture, reader):
    known = reader.read(Candidate(picture, None)).payload
    picture.path.write_bytes(PIXELS[:-1] + b"x")
    os.utime(picture.path, (1_700_000_000, 1_700_000_000))
    reading = reader.read(Candidate(picture, known))
    assert (reading.state, reading.was_elsewhere) == ("changed", False)
    trusting = Reader(FIELDS, max_bytes=100_000, trust_times=True)
    assert trusting.read(Candidate(picture, known)).state == "unchanged"


def test_times_are_not_trusted_where_the_time_is_another(picture, reader):
    known = reader.read(Candidate(picture, None)).payload
    picture.path.write_bytes(PIXELS[:-1] + b"x")
    trusting = Reader(FIELDS, max_bytes=100_000, trust_times=True)
    assert trusting.read(Candidate(picture, known)).state == "changed"


def test_the_picture_of_another_root_is_changed(picture, reader):
    known = dict(reader.read(Candidate(picture, None)).payload) | {"root": "/elsewhere"}
    reading = reader.read(Candidate(picture, known))
    assert (reading.state, reading.was_elsewhere) == ("changed", True)


def test_without_a_hash_in_the_collection_everything_is_changed_but_times_may_be_trusted(picture):
    fields = FIELDS - {"content_hash"}
    known = Reader(fields, max_bytes=100_000).read(Candidate(picture, None)).payload
    assert "content_hash" not in known
    assert Reader(fields, max_bytes=100_000).read(Candidate(picture, known)).state == "changed"
    trusting = Reader(fields, max_bytes=100_000, trust_times=True)
    assert trusting.read(Candidate(picture, known)).state == "unchanged"


def test_points_of_others_are_never_taken_for_unchanged(picture):
    reader = Reader(frozenset(("path",)), max_bytes=100_000, trust_times=True)
    reading = reader.read(Candidate(picture, {"path": "sea/a.png"}))
    assert (reading.state, dict(reading.payload)) == ("changed", {"path": "sea/a.png"})


def test_what_cannot_be_read_says_why(picture, reader):
    large = Reader(FIELDS, max_bytes=10).read(Candidate(picture, None))
    assert (large.state, large.error.reason) == ("failed", "IMAGE_TOO_LARGE")
    picture.path.unlink()
    assert "No such file" in reader.read(Candidate(picture, None)).error.message
    picture.path.symlink_to(picture.path)
    assert "symbolic link" in reader.read(Candidate(picture, None)).error.message
    picture.path.unlink()
    os.mkfifo(picture.path)
    assert "not a regular file" in reader.read(Candidate(picture, None)).error.message


def test_readings_come_in_order(tmp_path, reader):
    pictures = []
    for i in range(30):
        path = tmp_path / f"{i}.png"
        path.write_bytes(bytes(1_000 * (30 - i)))
        pictures.append(Picture(tmp_path, path))
    readings = reader.read_all(Candidate(picture, None) for picture in pictures)
    assert [reading.picture for reading in readings] == pictures


def test_addresses_name_the_very_file(tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff #.png")
    assert Picture(tmp_path, Path(odd)).uri == f"{tmp_path.as_uri()}/%FF%20%23.png"
    assert Picture(tmp_path, tmp_path / ("x" * 2_100)).uri == ""


def test_folders_that_cannot_be_read_are_told(tmp_path, close_folder):
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(PIXELS)
    close_folder(tmp_path / "closed")
    passed_over = PassedOver()
    assert list(find_images(tmp_path, passed_over)) == [tmp_path / "open" / "a.png"]
    assert [error.filename for error in passed_over.unread] == [str(tmp_path / "closed")]


def test_folders_that_vanish_are_told_and_loops_end(tmp_path):
    (tmp_path / "a.png").write_bytes(PIXELS)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert list(find_images(tmp_path)) == [tmp_path / "a.png"]
    passed_over = PassedOver()
    assert list(find_images(tmp_path / "gone", passed_over)) == []
    assert [error.filename for error in passed_over.unread] == [str(tmp_path / "gone")]
