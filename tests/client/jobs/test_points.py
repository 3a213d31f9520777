"""Scrolling, streaming, deleting and getting points: pages, retries and invalid arguments."""

from __future__ import annotations

import itertools

import clipserve
import pytest
from client.fake_server import Refused
from client.pictures import png
from clipserve import Client, F, Point

GONE = Refused("UNAVAILABLE", "", "connection renewed", details=False)
CONFLICT = Refused("ABORTED", "CONFLICT", "another writer came between")


@pytest.fixture
def things(client):
    """A collection of 20 points."""
    client.create_collection("things", schema={"n": "int"}, keep_sources=True)
    client.upsert("things", [Point(f"p{i:02}", text=f"text {i}", payload={"n": i}) for i in range(20)])
    return "things"


def test_pages_are_asked_for_as_points_are_drawn(server, client, things):
    points = client.scroll(things)
    assert not server.seen("ScrollPoints")
    assert [point.id for point in itertools.islice(points, 7)] == [f"p{i:02}" for i in range(7)]
    assert len(server.seen("ScrollPoints")) == 1
    assert len(list(points)) == 13
    assert len(server.seen("ScrollPoints")) == 3


def test_a_page_that_fails_is_asked_for_again_without_loss(server, client, things):
    points = client.scroll(things, page_size=5)
    first = next(points)
    server.script("ScrollPoints", GONE, GONE)
    ids = [first.id, *(point.id for point in points)]
    assert ids == [f"p{i:02}" for i in range(20)]
    assert len(server.seen("ScrollPoints")) == 6


def test_embeddings_of_two_models_are_never_mixed(server, client, things):
    points = client.scroll(things, with_embeddings=True, page_size=5)
    next(points)
    client.start_migration(things, "other")
    client.get_collection(things)
    client.switch_migration(things)
    with pytest.raises(clipserve.FingerprintMismatch, match="switched to model 'other' during the scroll"):
        list(points)


def test_points_without_embeddings_do_not_mind_the_model(client, things):
    points = client.scroll(things, page_size=5)
    next(points)
    client.start_migration(things, "other")
    client.get_collection(things)
    client.switch_migration(things)
    assert len(list(points)) == 19


def test_pages_with_sources_fit_into_messages(make_server):
    server = make_server(max_message_bytes=1024 * 1024, max_page_size=100, max_items_per_call=100)
    with Client(server.address) as client:
        client.create_collection("heavy", keep_sources=True)
        client.upsert("heavy", [Point(f"p{i}", text="x " * 100_000) for i in range(12)])
        assert len(list(client.scroll("heavy", with_sources=True))) == 12
        assert len(server.seen("ScrollPoints")) > 4
        points = client.get_points("heavy", [f"p{i}" for i in range(12)], with_sources=True)
        assert sum(len(point.text) for point in points) == 12 * 200_000
        assert len(server.seen("GetPoints")) == 12


@pytest.mark.parametrize("size", [0, -1])
def test_a_page_has_at_least_one_point(client, size):
    with pytest.raises(ValueError, match="at least 1"):
        client.scroll("things", page_size=size)


def test_wrong_filters_are_found_before_anything_is_asked(server, client):
    for call in (
        lambda: client.scroll("things", filter="n = 1"),
        lambda: client.count("things", "n = 1"),
        lambda: client.delete_points("things", filter="n = 1"),
    ):
        with pytest.raises(ValueError, match="column 3"):
            call()
    assert not server.state.calls


def test_what_to_delete_is_said_once(client, things):
    with pytest.raises(TypeError, match="exactly one of ids and filter"):
        client.delete_points(things)
    with pytest.raises(TypeError, match="exactly one of ids and filter"):
        client.delete_points(things, ["p00"], filter="n == 1")
    assert client.delete_points(things, filter=F("n") < 5) == 5
    assert client.delete_points(things, []) == 0
    assert client.count(things) == 15


def test_streams_of_points_go_on_where_they_broke(server, client):
    client.create_collection("streamed")
    server.script("UpsertPointsStream", 0.0, GONE, 0.0, CONFLICT, 0.0)
    batches = ([Point(f"p{i}-{j}", text=f"{i} {j}") for j in range(3)] for i in range(8))
    results = list(client.upsert_stream("streamed", batches))
    assert [result.written for result in results] == [3] * 8
    assert client.count("streamed") == 24


def test_batches_larger_than_a_message_come_back_whole(server, client):
    client.create_collection("streamed")
    points = [Point(f"p{i}", image=png(i % 5, 4, 4)) for i in range(40)]
    (result,) = client.upsert_stream("streamed", [points])
    assert result.written == 40
    assert [call.items for call in server.seen("UpsertPointsStream")] == [16, 16, 8]


def test_ids_given_twice_in_a_batch_fail_with_their_positions(client):
    client.create_collection("streamed")
    points = [Point("a", text="x"), Point("a", text="y")]
    (result,) = client.upsert_stream("streamed", [points], on_error="return")
    assert (result.written, list(result.errors)) == (1, [1])
    with pytest.raises(clipserve.BatchError):
        list(client.upsert_stream("streamed", [points]))


def test_streams_draw_only_a_window_ahead(server, client):
    client.create_collection("streamed")
    drawn = 0

    def batches():
        nonlocal drawn
        for i in range(20):
            drawn += 1
            yield [Point(f"p{i}", text="x")]

    for done, _ in enumerate(client.upsert_stream("streamed", batches()), 1):
        assert drawn <= done + server.state.limits.stream_window


def test_a_conflict_is_tried_again(server, client, things):
    server.script("DeletePoints", CONFLICT, CONFLICT)
    assert client.delete_points(things, ["p00"]) == 1
    server.script("DeletePoints", *[CONFLICT] * 9)
    with pytest.raises(clipserve.Conflict) as caught:
        client.delete_points(things, ["p01"])
    assert caught.value.code == "ABORTED"


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("PutAlias", lambda client: client.put_alias("alias", "things")),
        ("DeleteAlias", lambda client: client.delete_alias("alias")),
        ("StartMigration", lambda client: client.start_migration("things", "other")),
        ("SwitchMigration", lambda client: client.switch_migration("things")),
        ("RollBackMigration", lambda client: client.roll_back_migration("things")),
        ("EndMigration", lambda client: client.end_migration("things")),
        ("DeleteLabelSet", lambda client: client.delete_label_set("pets")),
    ],
)
def test_what_answers_otherwise_the_second_time_is_sent_once(server, client, things, method, call):
    server.script(method, GONE)
    with pytest.raises(clipserve.Unavailable):
        call(client)
    assert len(server.seen(method)) == 1


def test_what_can_be_repeated_is_tried_again(server, client, things):
    for method in ("PutLabelSet", "GetLabelSet", "ListLabelSets", "ListAliases"):
        server.script(method, GONE)
    client.put_label_set("pets", ["cat"])
    client.get_label_set("pets")
    assert len(client.list_label_sets()) == 1
    assert client.list_aliases() == {}


def test_lists_are_read_to_their_last_page(server, client, things):
    for name in "edcba":
        client.put_alias(f"alias_{name}", things)
        client.put_label_set(f"set-{name}", ["cat"])
    assert list(client.list_aliases()) == [f"alias_{name}" for name in "abcde"]
    assert [info.name for info in client.list_label_sets()] == [f"set-{name}" for name in "abcde"]
    assert len(server.seen("ListAliases")) == len(server.seen("ListLabelSets")) == 3


def test_options_of_the_index_are_counts(client):
    with pytest.raises(ValueError, match="ef_search is -1; it must be 0 to"):
        client.create_collection("odd", index=clipserve.IndexOptions(ef_search=-1))


def test_a_migration_is_told_step_by_step(server, client, things):
    server.store.migration_step = 8
    client.start_migration(things, "other")
    server.store.collections[things].migration.waiting = "no model now"
    migration = client.get_collection(things).migration
    assert (migration.state, migration.error, migration.done) == ("waiting", "no model now", 0)
    server.store.collections[things].migration.waiting = ""
    assert [client.get_collection(things).migration.done for _ in range(3)] == [8, 16, 20]
    migration = client.get_collection(things).migration
    assert (migration.state, migration.overlap.k) == ("ready", 10)
