"""`clipserve collections`: lists, one collection, aliases."""

from __future__ import annotations

import pytest
from client.pictures import png
from clipserve import IndexOptions, Point


@pytest.fixture
def holiday(client):
    """A collection with everything that can be shown."""
    client.create_collection(
        "holiday",
        schema={"year": "int", "tags": "string_list"},
        keep_sources=True,
        index=IndexOptions(m=8, ef_search=64),
    )
    client.upsert("holiday", [Point(f"p{i}", image=png(i)) for i in range(25)])
    client.put_alias("photos", "holiday")
    return "holiday"


def test_a_collection_is_shown(run, answer, holiday):
    text = run("collections", "show", holiday).output
    for part in ("photos", "25", "fake, 16 dimensions", "kept", "ready, 25 of 25 points; m 8, ef_search 64"):
        assert part in text
    assert "string_list" in text
    assert "scores of random pairs" in text
    document = answer("collections", "show", "photos")
    assert document["name"] == "holiday"
    assert document["index_status"] == {"state": "ready", "indexed": 25}
    assert document["index_options"]["m"] == 8
    assert {row["query"] for row in document["score_statistics"]} == {"text", "image"}
    assert document["migration"] is None
    assert "EXIF orientation applied, transparency shown on #ffffff" in text
    assert document["image_rules"] == {"apply_orientation": True, "alpha_background": "#ffffff"}


def test_a_collection_without_much_is_shown(run, client):
    client.create_collection("bare", index=IndexOptions(exact=True))
    text = run("collections", "show", "bare").output
    assert "compare every point (option exact)" in text
    assert "not kept" in text
    assert "no collection 'nothing'" in run("collections", "show", "nothing", code=1).output


def test_a_migration_is_shown(run, answer, server, client, holiday):
    server.store.migration_step = 5
    client.start_migration(holiday, "other")
    text = run("collections", "show", holiday).output
    assert "from model fake to other: running, 5 of 25 points" in text
    document = answer("collections", "show", holiday)["migration"]
    assert (document["state"], document["done"]) == ("running", 10)


def test_aliases_are_made_listed_and_removed(run, answer, client, holiday):
    client.create_collection("other_one")
    assert (
        "photos now points to other_one (before: holiday)"
        in run("collections", "alias", "photos", "other_one").output
    )
    assert answer("collections", "alias", "new_one", "holiday")["previous_collection"] is None
    assert answer("collections", "aliases")["aliases"] == {"new_one": "holiday", "photos": "other_one"}
    assert "new_one" in run("collections", "aliases").output
    assert "holiday (new_one)" in run("collections").output
    text = run("collections", "rm", "holiday", "-y", code=1).output
    assert "or remove it with `clipserve collections unalias`" in text
    assert "removed alias new_one" in run("collections", "unalias", "new_one").output
    assert answer("collections", "unalias", "photos") == {"removed": "photos"}
    assert "no aliases" in run("collections", "aliases").output
    assert (
        "`clipserve collections aliases` lists the aliases"
        in run("collections", "unalias", "photos", code=1).output
    )


def test_collections_are_listed_and_removed(run, answer, client):
    assert "no collections" in run("collections").output
    client.create_collection("one_thing", schema={"path": "string"})
    assert "one_thing" in run("collections").output
    assert answer("collections")["collections"][0]["schema"] == {"path": "string"}
    assert answer("collections", "list")["collections"][0]["count"] == 0
    assert "Aborted" in run("collections", "rm", "one_thing", input="n\n", code=1).output
    assert "removed one_thing" in run("collections", "rm", "one_thing", input="y\n").output
    assert "no collection" in run("collections", "rm", "one_thing", "-y", code=1).output
