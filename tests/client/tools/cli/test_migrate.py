"""`clipserve migrate`, as a person and as a machine use it."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time

import pytest
from client.fake_server import Refused
from clipserve.tools.cli import migrate
from clipserve.tools.cli.migration_output import names_of, overlap_in_words
from clipserve.types import ImageRules, NeighborOverlap, Point


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(migrate, "POLL_SECONDS", 0.0)


@pytest.fixture
def album(client, server):
    """Twenty texts with their sources; their migration takes ten looks."""
    client.create_collection("album", keep_sources=True)
    client.upsert("album", [Point(f"p{i:02}", text=f"text {i}") for i in range(20)])
    server.store.migration_step = 2
    return "album"


@pytest.fixture
def broken(album, client):
    """The same, with a point that has no source."""
    client.upsert(album, [Point("sourceless", embedding=[1.0] * 16)])
    return album


def test_a_collection_is_moved_watched_and_switched(run, album, client):
    result = run("migrate", album, "--to-model", "other", input="y\n")
    assert "of the 10 nearest neighbors of a point, both models find 7.5 on average (75 %" in result.stdout
    assert "Answer searches in album with model other from now on?" in result.stderr
    assert "album now answers with model other" in result.stdout
    assert "clipserve migrate album --roll-back" in result.stdout
    assert "clipserve migrate album --end" in result.stdout
    assert client.get_collection(album).model.name == "other"


def test_it_asks_until_the_server_is_done(run, album, server):
    run("migrate", album, "--to-model", "other", "--yes")
    # Once before it begins, and then until all are done, two points a look.
    assert len(server.seen("GetCollection")) == 11


def test_a_machine_gets_one_document(answer, album):
    document = answer("migrate", album, "--to-model", "other", "--no-switch")
    assert (document["collection"], document["model"]) == ("album", "fake")
    migration = document["migration"]
    assert (migration["state"], migration["total"], migration["done"]) == ("ready", 20, 20)
    assert (migration["from"]["model"], migration["to"]["model"]) == ("fake", "other")
    assert migration["overlap"] == {"k": 10, "queries": 4, "mean": 0.75, "p10": 0.5}
    assert answer("migrate", album, "--switch", "--yes")["model"] == "other"
    assert answer("migrate", album, "--roll-back")["migration"]["state"] == "ready"
    assert answer("migrate", album, "--end", "--yes")["migration"] is None


def test_models_of_a_migration_are_named_with_rules_that_differ(client, album):
    migration = client.start_migration(album, "other").migration
    same = dataclasses.replace(migration, target_rules=migration.source_rules)
    assert names_of(same) == ("fake", "other")
    old, new = names_of(dataclasses.replace(same, target_rules=ImageRules(True, "#ffffff")))
    assert old == "fake (EXIF orientation not applied, transparency dropped)"
    assert new == "other (EXIF orientation applied, transparency shown on #ffffff)"


def test_who_declines_can_switch_later(run, album, client):
    result = run("migrate", album, "--to-model", "other", input="n\n", code=1)
    assert "not switched; to switch later: `clipserve migrate album --switch`" in result.stderr
    assert client.get_collection(album).model.name == "fake"
    assert "album now answers with model other" in run("migrate", album, "--switch", "--yes").stdout


def test_failed_points_keep_it_from_switching_unless_they_may_go_missing(run, answer, broken, client):
    result = run("migrate", broken, "--to-model", "other", "--yes", code=3)
    assert "1 points could not be embedded with other" in result.stderr
    assert "sourceless  its source is not kept" in result.stderr
    assert "clipserve migrate album --switch --accept-dropped 1" in result.stdout
    assert "1 of 21 points are dropped" in result.stdout
    assert client.get_collection(broken).model.name == "fake"
    text = run("migrate", broken, "--switch", "--yes", code=1).output
    assert "not switched: 1 of 21 points have no embedding of model other and would be dropped" in text
    assert answer("migrate", broken, "--to-model", "other", "--yes", code=3)["migration"]["failed"] == 1
    text = run("migrate", broken, "--to-model", "other", "--without-failed", "--yes", code=1).output
    assert "--yes does not confirm; give --accept-dropped 1" in text
    assert client.get_collection(broken).model.name == "fake"
    run("migrate", broken, "--to-model", "other", "--accept-dropped", "1", "--yes")
    stored = client.get_collection(broken)
    assert (stored.model.name, stored.count) == ("other", 20)


@pytest.mark.parametrize("typed", ["1", "album"])
def test_dropped_points_are_agreed_to_by_typing_their_number_or_the_name(run, broken, client, typed):
    run("migrate", broken, "--to-model", "other", "--no-switch")
    result = run("migrate", broken, "--switch", "--without-failed", input=f"{typed}\n")
    assert (
        "1 of 21 points are dropped. To drop them, type their number or the collection's name"
        in result.stderr
    )
    assert client.get_collection(broken).count == 20


@pytest.mark.parametrize("typed", ["y\n", "\n", "2\n", ""])
def test_anything_else_drops_nothing(run, broken, client, typed):
    run("migrate", broken, "--to-model", "other", "--no-switch")
    run("migrate", broken, "--switch", "--without-failed", input=typed, code=1)
    stored = client.get_collection(broken)
    assert (stored.model.name, stored.count) == ("fake", 21)


def test_another_number_than_the_servers_is_refused_with_the_right_one(run, broken, client):
    run("migrate", broken, "--to-model", "other", "--no-switch")
    text = run("migrate", broken, "--switch", "--accept-dropped", "2", "--yes", code=1).output
    assert "1 of 21 points would be dropped" in text
    assert client.get_collection(broken).model.name == "fake"


def test_a_migration_all_of_whose_points_failed_is_not_ready_and_cannot_be_switched(run, answer, client):
    client.create_collection("bare", keep_sources=True)
    client.upsert("bare", [Point(f"p{i}", embedding=[1.0] * 16) for i in range(3)])
    for words in (["--yes"], ["--without-failed", "--yes"], ["--accept-dropped", "3", "--yes"]):
        document = answer("migrate", "bare", "--to-model", "other", *words, code=3)
        assert document["migration"]["state"] == "waiting"
    text = run("migrate", "bare", "--status").stdout
    assert "none of the points could be embedded" in text
    assert "--switch" not in text
    run("migrate", "bare", "--switch", "--accept-dropped", "3", "--yes", code=1)
    assert client.get_collection("bare").model.name == "fake"


def test_stopping_when_ready_is_no_failure_though_points_failed(run, broken):
    assert "ready, 21 of 21 points" in run("migrate", broken, "--to-model", "other", "--no-switch").stdout


def test_a_migration_under_way_is_watched_not_begun_again(run, album, client, server):
    client.start_migration(album, "other")
    run("migrate", album, "--to-model", "other", "--yes")
    assert len(server.seen("StartMigration")) == 1
    assert "album now answers with model other" in run("migrate", album, "--to-model", "other").stdout


def test_another_migration_is_to_be_ended_first(run, album, client):
    client.start_migration(album, "other")
    text = run("migrate", album, "--to-model", "third", code=1).output
    assert "album has a migration to model other; end it first with `clipserve migrate album --end`" in text


def test_the_status_says_how_things_stand_and_what_comes_next(run, album, client, server):
    assert "answers with model fake; it has no migration" in run("migrate", album, "--status").stdout
    client.start_migration(album, "other")
    text = run("migrate", album, "--status").stdout
    assert "album, migration from model fake to other: running, 2 of 20 points, since 2023-11-14" in text
    assert "clipserve migrate album --to-model other    watches the migration" in text
    server.store.get(album).migration.waiting = "Triton is away"
    text = run("migrate", album, "--status").stdout
    assert "waiting" in text
    assert "the error was: Triton is away" in text


def test_why_it_waits_is_said_once_while_it_is_watched(run, album, client, server, monkeypatch):
    client.start_migration(album, "other")
    migration = server.store.get(album).migration
    migration.waiting = "Triton is away"
    looks = iter(range(100))

    def sleep(seconds):
        if next(looks) == 3:
            migration.waiting = ""

    monkeypatch.setattr(migrate.time, "sleep", sleep)
    result = run("migrate", album, "--to-model", "other", "--yes")
    assert result.stderr.count("waiting to retry: Triton is away") == 1
    assert "album now answers with model other" in result.stdout


def test_a_migration_that_others_end_is_told(run, album, server, monkeypatch):
    monkeypatch.setattr(migrate.time, "sleep", lambda seconds: server.store.end_migration(album))
    text = run("migrate", album, "--to-model", "other", code=1).output
    assert "somebody else ended the migration of album" in text


def test_ending_asks_and_says_what_is_dropped(run, album, client):
    client.start_migration(album, "other")
    result = run("migrate", album, "--end", input="n\n", code=1)
    assert (
        "album keeps model fake. Drop its embeddings of model other? This cannot be undone." in result.stderr
    )
    run("migrate", album, "--to-model", "other", "--yes")
    result = run("migrate", album, "--end", input="y\n")
    assert (
        "album keeps model other. Drop its embeddings of model fake? This cannot be undone." in result.stderr
    )
    assert "it has no migration" in result.stdout


@pytest.mark.parametrize("step", ["--switch", "--roll-back", "--end"])
def test_without_a_migration_the_command_says_how_to_begin(run, album, step):
    text = run("migrate", album, step, code=1).output
    assert "album has no migration; start one with `clipserve migrate album --to-model NAME`" in text


@pytest.mark.parametrize(
    "words",
    [(), ("--status", "--end"), ("--status", "--no-switch"), ("--end", "--without-failed")],
)
def test_one_thing_at_a_time(run, album, words):
    run("migrate", album, *words, code=2)


def test_what_the_server_refuses_is_told_in_its_words(run, client, server):
    client.create_collection("plain")
    client.upsert("plain", [Point("a", text="a")])
    assert "no sources are kept" in run("migrate", "plain", "--to-model", "other", code=1).output
    server.script("GetCollection", Refused("NOT_FOUND", "COLLECTION_NOT_FOUND", "no collection 'x'"))
    assert "no collection 'x'" in run("migrate", "x", "--status", code=1).output


def test_ctrl_c_ends_the_watching_alone(server, client, album):
    server.store.migration_step = 0
    # A shell's background job ignores the signal, and so would its children.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from clipserve.tools.cli import main; main()"
    command = [sys.executable, "-c", code, "-s", server.address, "migrate", album, "--to-model", "other"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 20
    while len(server.seen("GetCollection")) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"the migration continues on the server" in words
    assert b"Watch it again with `clipserve migrate album --to-model other`" in words
    assert b"Traceback" not in words
    assert client.get_collection(album).migration.state == "running"


def test_hardly_any_overlap_is_a_warning():
    assert "check some searches" in overlap_in_words(NeighborOverlap(10, 200, 0.01, 0.0))
    assert "check some searches" not in overlap_in_words(NeighborOverlap(10, 200, 0.4, 0.1))
