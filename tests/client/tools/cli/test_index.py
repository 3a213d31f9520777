"""`clipserve index`, as a person and as a machine use it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from client.fake_server import Refused
from client.pictures import png
from clipserve.tools.indexing import reading
from clipserve.tools.indexing.reading import Candidate
from clipserve.types import Point
from clipserve.v1 import common_pb2


def summary(document):
    names = ("new", "changed", "unchanged", "failed", "pruned", "points")
    return {name: document[name] for name in names if document[name]}


def test_folders_are_indexed_and_found(run, answer, photos, client):
    text = run("index", photos, "-c", "holiday").stdout
    assert re.search(
        r"^checked 5 pictures in \S+ s \(\S+ pictures/s\): 5 new, 0 changed, 0 unchanged; ", text
    )
    assert text.endswith("holiday has 5 points now\n")
    document = answer("search", "--image", photos / "sea" / "c.png", "-c", "holiday", "-k", "2")
    assert document["hits"][0]["id"] == "sea/c.png"
    assert document["hits"][0]["path"] == str(photos / "sea" / "c.png")
    assert document["hits"][0]["payload"]["folder"] == "sea"
    assert len(document["hits"]) == 2
    text = run("search", "a dog", "-c", "holiday").stdout
    assert "[bold]e.png" in text


def test_points_know_where_their_pictures_lie(answer, photos, client):
    answer("index", photos, "-c", "holiday")
    [point] = client.get_points("holiday", ["sea/[bold]e.png"])
    assert point.source_uri == f"{photos.as_uri()}/sea/%5Bbold%5De.png"
    assert point.payload["root"] == str(photos)


def test_a_second_run_sends_only_what_is_new_or_changed(answer, photos, server):
    assert summary(answer("index", photos, "-c", "holiday")) == {"new": 5, "points": 5}
    before = len(server.seen("UpsertPoints"))
    document = answer("index", photos, "-c", "holiday")
    assert summary(document) == {"unchanged": 5, "points": 5}
    assert len(server.seen("UpsertPoints")) == before
    (photos / "new.png").write_bytes(png(9))
    (photos / "a.png").write_bytes(png(8))
    os.utime(photos / "b.png")
    document = answer("index", photos, "-c", "holiday")
    assert summary(document) == {"new": 1, "changed": 1, "unchanged": 4, "points": 6}
    assert (document["written"], document["errors"]) == (2, [])
    assert sum(call.items for call in server.seen("UpsertPoints")[before:]) == 2


def test_what_the_collection_has_is_asked_for_in_batches(answer, photos, server, monkeypatch):
    monkeypatch.setattr(reading, "LOOKUP_BATCH", 3)
    answer("index", photos, "-c", "holiday")
    assert server.seen("GetPoints") == []
    answer("index", photos, "-c", "holiday")
    assert [call.items for call in server.seen("GetPoints")] == [3, 2]


def test_fast_runs_read_nothing_that_has_the_known_size_and_time(answer, photos):
    answer("index", photos, "-c", "holiday")
    facts = (photos / "a.png").stat()
    content = (photos / "a.png").read_bytes()
    (photos / "a.png").write_bytes(bytes(len(content)))
    os.utime(photos / "a.png", (facts.st_atime, facts.st_mtime))
    assert summary(answer("index", photos, "-c", "holiday", "--fast")) == {"unchanged": 5, "points": 5}
    document = answer("index", photos, "-c", "holiday", code=3)
    assert summary(document) == {"unchanged": 4, "failed": 1, "points": 5}


def test_requests_travel_side_by_side_as_far_as_asked(answer, tmp_path, server):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(100):
        (folder / f"{i}.png").write_bytes(png(i, 4, 4))
    server.script("UpsertPoints", *[0.5] * 7)
    answer("index", folder, "-c", "many", "--parallel", "7")
    assert server.state.most_in_flight == 7


def test_broken_files_are_passed_over_and_listed(run, answer, photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"junk")
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    (photos / "loop.jpg").symlink_to(photos / "loop.jpg")
    names = ["broken.jpg", "empty.jpg", "gone.jpg", "loop.jpg"]
    result = run("index", photos, "-c", "holiday", code=3)
    for name in names:
        assert name in result.stderr
    assert "checked 9 pictures" in result.stdout
    assert "5 new, 0 changed, 0 unchanged, 4 failed; holiday has 5" in result.stdout
    out = tmp_path / "errors.jsonl"
    document = answer("index", photos, "-c", "holiday", "--errors", out, code=3)
    assert summary(document) == {"unchanged": 5, "failed": 4, "points": 5}
    assert [error["name"] for error in document["errors"]] == names
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert written == document["errors"]
    assert written[0]["reason"] == "IMAGE_UNREADABLE"


def test_only_the_first_errors_are_shown(run, photos):
    for i in range(25):
        (photos / f"broken{i:02}.png").write_bytes(b"junk")
    words = run("index", photos, "-c", "holiday", code=3).stderr
    assert words.count("✗") == 20
    assert "… and 5 more (all with --errors FILE)" in words


def test_a_file_too_large_for_the_server_is_not_read(run, make_server, tmp_path):
    server = make_server(max_image_bytes=50_000)
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(1))
    with (folder / "b.png").open("wb") as file:
        file.truncate(10**12)
    result = run("index", folder, "-c", "large", "-s", server.address, code=3)
    assert "at most 50000 are accepted" in result.stderr


def test_a_file_that_vanishes_after_the_listing_fails_alone(answer, photos, client, monkeypatch):
    def look_up(*given):
        (photos / "b.png").unlink()
        yield from found(*given)

    found = reading.look_up
    answer("index", photos, "-c", "holiday")
    monkeypatch.setattr("clipserve.tools.indexing.run.look_up", look_up)
    result = answer("index", photos, "-c", "holiday", code=3)
    assert summary(result) == {"unchanged": 4, "failed": 1, "points": 5}
    assert "No such file" in result["errors"][0]["message"]


def test_odd_file_names_are_indexed_and_known_again(answer, tmp_path):
    folder = tmp_path / "odd"
    deep = folder / "/".join(["x" * 200] * 3)
    deep.mkdir(parents=True)
    (deep / "a.png").write_bytes(png(1))
    (folder / "line\nbreak.png").write_bytes(png(2))
    (folder / "ünïcödé 图.png").write_bytes(png(3))
    with open(os.fsencode(folder) + b"/\xff.png", "wb") as file:
        file.write(png(4))
    assert summary(answer("index", folder, "-c", "odd")) == {"new": 4, "points": 4}
    hits = answer("search", "x", "-c", "odd")["hits"]
    names = {hit["id"] for hit in hits}
    assert "ünïcödé 图.png" in names
    assert sum(name.startswith("sha256:") for name in names) == 3
    assert summary(answer("index", folder, "-c", "odd", "--prune")) == {"unchanged": 4, "points": 4}


def test_unreadable_folders_are_listed_and_their_points_kept(run, answer, photos, close_folder):
    answer("index", photos, "-c", "holiday")
    (photos / "a.png").unlink()
    close_folder(photos / "sea")
    document = answer("index", photos, "-c", "holiday", "--prune", "--yes", code=3)
    assert summary(document) == {"unchanged": 1, "failed": 1, "pruned": 1, "points": 4}
    assert document["errors"][0]["name"] == "sea/"
    assert "Permission denied" in document["errors"][0]["message"]
    close_folder(photos)
    text = run("index", photos, "-c", "holiday", "--prune", "--yes", code=1).output
    assert "no pictures found" in text
    assert "Permission denied" in text


def test_pruning_asks_and_deletes_what_is_gone_from_this_folder_alone(run, answer, photos, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "z.png").write_bytes(png(7))
    answer("index", photos, "-c", "holiday")
    answer("index", other, "-c", "holiday")
    (photos / "a.png").unlink()
    (photos / "sea" / "c.png").rename(photos / "c.png")
    result = run("index", photos, "-c", "holiday", "--prune", input="n\n", code=1)
    assert "The pictures of 2 points are gone" in result.stderr
    assert "(a.png, sea/c.png)" in result.stderr
    result = run("index", photos, "-c", "holiday", "--prune", input="y\n")
    assert "1 new, 0 changed, 3 unchanged, 2 pruned; holiday has 5 points now" in result.stdout
    assert summary(answer("index", photos, "-c", "holiday", "--prune")) == {"unchanged": 4, "points": 5}


def test_pruning_needs_to_know_whose_points_are_whose(run, photos, client):
    client.create_collection("other", schema={"path": "string"})
    text = run("index", photos, "-c", "other", "--prune", code=1).output
    assert "leave out --prune" in text


def test_points_of_another_folder_are_told(run, photos, tmp_path):
    run("index", photos, "-c", "holiday")
    photos.rename(tmp_path / "moved")
    result = run("index", tmp_path / "moved", "-c", "holiday")
    assert "5 changed" in result.stdout
    assert "5 of the points belonged to another folder" in result.stderr


def test_collections_of_earlier_versions_are_written_anew_and_say_so(run, answer, photos, client):
    schema = {"path": "string", "root": "string", "folder": "string", "bytes": "int", "modified": "timestamp"}
    client.create_collection("old", schema=schema)
    assert "does not know" not in run("index", photos, "-c", "old").stderr
    result = run("index", photos, "-c", "old")
    assert "every picture is embedded again; --fast" in result.stderr
    assert "0 new, 5 changed, 0 unchanged" in result.stdout
    result = run("index", photos, "-c", "old", "--fast")
    assert "does not know" not in result.stderr
    assert "5 unchanged" in result.stdout


def test_collections_of_others_are_added_to_as_far_as_they_fit(answer, photos, client):
    client.create_collection("other", schema={"path": "string", "rating": "int"})
    answer("index", photos, "-c", "other")
    payload = answer("search", "x", "-c", "other")["hits"][0]["payload"]
    assert set(payload) == {"path"}


def test_a_folder_without_pictures_and_another_model_are_refused(run, tmp_path, photos):
    (tmp_path / "empty").mkdir()
    assert "no pictures found" in run("index", tmp_path / "empty", "-c", "abc", code=1).output
    run("index", photos, "-c", "holiday")
    text = run("index", photos, "-c", "holiday", "--model", "other", code=1).output
    assert "holiday has model fake; leave out --model" in text
    text = run("index", photos, "-c", "new", "--model", "nope", code=1).output
    assert "no model 'nope'" in text
    assert "`clipserve info` lists the models" in text


def test_sources_are_kept_from_the_beginning_or_not_at_all(run, photos, client):
    run("index", photos, "-c", "kept", "--keep-sources")
    assert client.get_collection("kept").keep_sources
    [point] = client.get_points("kept", ["a.png"], with_sources=True)
    assert point.image == (photos / "a.png").read_bytes()
    run("index", photos, "-c", "plain")
    assert not client.get_collection("plain").keep_sources
    text = run("index", photos, "-c", "plain", "--keep-sources", code=1).output
    assert "does not keep sources; leave out --keep-sources" in text


def test_a_failing_server_leaves_what_was_written_and_the_way_to_go_on(run, answer, tmp_path, server):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i:02}.png").write_bytes(png(i, 4, 4))
    server.script("UpsertPoints", 0.0, 0.0, 0.0, Refused("INTERNAL", "STORAGE_FAILED", "disk full"))
    result = run("index", folder, "-c", "many", "--parallel", "1", code=1)
    # Requests of 1, 1 and 2 pictures.
    assert "stopped after 4 of 40 pictures; written points stay" in result.stderr
    assert "disk full" in result.stderr
    assert summary(answer("index", folder, "-c", "many")) == {"new": 36, "unchanged": 4, "points": 40}


def test_ctrl_c_ends_long_work_at_once_and_says_how_to_go_on(server, photos):
    server.script("UpsertPoints", *[30.0] * 4)
    # A shell's background job ignores the signal, and so would its children.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from clipserve.tools.cli import main; main()"
    command = [sys.executable, "-c", code, "-s", server.address, "index", photos, "-c", "holiday"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    end = time.monotonic() + 20
    while not server.seen("UpsertPoints") and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"stopped after 0 of 5 pictures" in words
    assert b"Aborted!" in words
    assert b"Traceback" not in words


def test_every_picture_is_accounted_for_once(answer, photos, server):
    (photos / "broken.png").write_bytes(b"junk")
    document = answer("index", photos, "-c", "holiday", code=3)
    states = Counter({name: document[name] for name in ("new", "changed", "unchanged", "failed")})
    assert states.total() == 6


@pytest.mark.parametrize("count", ["0", "65"])
def test_requests_side_by_side_are_1_to_64(run, photos, count):
    run("index", photos, "-c", "holiday", "--parallel", count, code=2)


@pytest.fixture
def other_photos(tmp_path):
    """A folder with a.png, of another content than that of `photos`, and a picture of its own."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(70))
    (folder / "z.png").write_bytes(png(71))
    return folder


def contents(client, collection):
    return {point.id: (point.payload, point.image) for point in client.scroll(collection, with_sources=True)}


def test_points_of_another_folder_are_not_overwritten(run, answer, photos, other_photos, client):
    run("index", photos, "-c", "holiday", "--keep-sources")
    before = contents(client, "holiday")
    text = run("index", other_photos, "-c", "holiday", code=1).stderr
    assert "1 of the 2 pictures have the id of a point in holiday from another folder" in text
    assert f"(a.png of {photos})" in text
    assert contents(client, "holiday") == before
    assert "--prefix" in text
    document = answer("index", other_photos, "-c", "holiday", "--prefix", "other/")
    assert summary(document) == {"new": 2, "points": 7}
    after = contents(client, "holiday")
    assert {id: after[id] for id in before} == before
    assert after["other/a.png"][1] == png(70)
    # Both may be run again, and pruned, each on its own.
    (other_photos / "z.png").unlink()
    document = answer("index", other_photos, "-c", "holiday", "--prefix", "other/", "--prune", "-y")
    assert summary(document) == {"unchanged": 1, "pruned": 1, "points": 6}
    assert summary(answer("index", photos, "-c", "holiday", "--prune")) == {"unchanged": 5, "points": 6}


def test_points_of_another_folder_are_overwritten_when_told(run, answer, photos, other_photos, client):
    run("index", photos, "-c", "holiday")
    result = run("index", other_photos, "-c", "holiday", "--replace")
    assert "1 new, 1 changed" in result.stdout
    [point] = client.get_points("holiday", ["a.png"])
    assert point.payload["root"] == str(other_photos)
    assert "a.png of" in run("index", photos, "-c", "holiday", code=1).stderr


def test_equal_pictures_of_a_folder_that_is_still_there_are_not_taken_over(run, photos, tmp_path):
    run("index", photos, "-c", "holiday")
    shutil.copytree(photos, tmp_path / "copy")
    assert "5 of the 5" in run("index", tmp_path / "copy", "-c", "holiday", code=1).stderr


def test_a_moved_folder_whose_pictures_changed_is_not_taken_over(run, photos, tmp_path):
    run("index", photos, "-c", "holiday")
    photos.rename(tmp_path / "moved")
    (tmp_path / "moved" / "a.png").write_bytes(png(99))
    assert "1 of the 5" in run("index", tmp_path / "moved", "-c", "holiday", code=1).stderr


def test_points_of_no_folder_are_not_overwritten(run, answer, photos, client):
    client.create_collection("mine", schema={"note": "string"})
    client.upsert("mine", [Point("a.png", text="a dog", payload={"note": "by hand"})])
    text = run("index", photos, "-c", "mine", code=1).stderr
    assert "from another folder (a.png)" in text
    assert client.get_points("mine", ["a.png"])[0].payload == {"note": "by hand"}
    assert summary(answer("index", photos, "-c", "mine", "--replace"))["points"] == 5
    # Without the field `root`, the place of the source tells whose point it is.
    assert summary(answer("index", photos, "-c", "mine"))["points"] == 5


def test_points_that_another_run_writes_meanwhile_are_not_overwritten(answer, photos, client, monkeypatch):
    answer("index", photos, "-c", "holiday")
    (photos / "a.png").write_bytes(png(98))

    def look_up(client, collection, pictures):
        stored = {it.id: it.payload for it in client.get_points(collection, [it.id for it in pictures])}
        stored["a.png"] = {**stored["a.png"], "root": "/elsewhere"}
        return (Candidate(picture, stored[picture.id]) for picture in pictures)

    monkeypatch.setattr("clipserve.tools.indexing.run.look_up", look_up)
    document = answer("index", photos, "-c", "holiday", code=3)
    assert [error["reason"] for error in document["errors"]] == ["CONFLICT"]


@pytest.mark.parametrize("prefix", ["x" * 257, "a\nb/"])
def test_prefixes_are_short_and_printable(run, photos, prefix):
    assert "--prefix" in run("index", photos, "-c", "holiday", "--prefix", prefix, code=2).stderr


REPLACED = common_pb2.ModelRef(name="fake", fingerprint="e" * 64, embed_dim=16)


def test_pictures_of_a_replaced_model_do_not_pass_as_unchanged(run, answer, photos, server):
    answer("index", photos, "-c", "plain")
    answer("index", photos, "-c", "kept", "--keep-sources")
    server.state.model = REPLACED
    before = len(server.seen("UpsertPoints"))
    for name, kept in (("plain", "it has none"), ("kept", "it has them")):
        text = run("index", photos, "-c", name, code=1).stderr
        assert f"{name} has embeddings of model fake (ffffffffffff…)" in text
        assert "the server serves another model of that name (eeeeeeeeeeee…); nothing was indexed" in text
        assert f"`clipserve migrate {name} --to-model fake`" in text
        assert f"({kept})" in text
    assert len(server.seen("UpsertPoints")) == before


def test_pictures_of_a_model_that_is_gone_do_not_pass_as_unchanged(run, answer, photos, server):
    answer("index", photos, "-c", "holiday")
    server.state.model = common_pb2.ModelRef(name="new", fingerprint="e" * 64, embed_dim=16)
    text = run("index", photos, "-c", "holiday", code=1).stderr
    assert "the server serves no model of that name; nothing was indexed" in text
    assert "`clipserve migrate holiday --to-model NAME`" in text


def test_a_migration_from_a_replaced_model_is_ended_before_pictures_are_indexed(run, answer, photos, server):
    answer("index", photos, "-c", "holiday", "--keep-sources")
    run("migrate", "holiday", "--to-model", "other", "--no-switch")
    answer("index", photos, "-c", "holiday")
    server.state.model = REPLACED
    text = run("index", photos, "-c", "holiday", code=1).stderr
    assert "Its migration to other is running (`clipserve migrate holiday --status`)" in text
    run("migrate", "holiday", "--switch", "--yes")
    text = run("index", photos, "-c", "holiday", code=1).stderr
    assert "End its migration first: `clipserve migrate holiday --end`" in text
    run("migrate", "holiday", "--end", "--yes")
    assert summary(answer("index", photos, "-c", "holiday")) == {"unchanged": 5, "points": 5}
