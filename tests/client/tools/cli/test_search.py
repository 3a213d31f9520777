"""`clipserve search` and `clipserve delete`."""

from __future__ import annotations

import base64
import io
import re
import shutil

import pytest
from client.pictures import png
from clipserve import Point
from clipserve.tools.cli.query import Query
from clipserve.tools.cli.search_output import percentile
from PIL import Image


@pytest.fixture
def indexed(answer, photos):
    """The photos, and three copies of one of them, in the collection `holiday`."""
    for name in ("copy1.png", "copy2.png", "sea/copy3.png"):
        shutil.copy(photos / "b.png", photos / name)
    answer("index", photos, "-c", "holiday")
    return photos


@pytest.fixture
def many(client):
    """A collection with points enough for percentiles."""
    client.create_collection("many", schema={"path": "string"})
    client.upsert("many", [Point(f"p{i}", image=png(i)) for i in range(25)])
    return "many"


def test_searches_need_one_query_and_a_sheet_a_known_suffix(run, photos):
    run("search", "-c", "holiday", code=2)
    run("search", "x", "--image", photos / "a.png", "-c", "holiday", code=2)
    run("search", "x", "-c", "holiday", "--sheet", "x.gif", code=2)


def test_what_is_like_a_point_is_found(answer, run, indexed):
    hits = answer("search", "--like", "b.png", "-c", "holiday", "-k", "3")["hits"]
    assert {hit["id"] for hit in hits} == {"copy1.png", "copy2.png", "sea/copy3.png"}
    text = run("search", "--like", "missing.png", "-c", "holiday", code=1).output
    assert "missing.png" in text


def test_texts_are_added_and_led_away_from(answer, client, indexed):
    document = answer("search", "a beach", "--plus", "at night", "--minus", "people", "-c", "holiday")
    embeddings = client.embed_texts(["a beach", "at night", "people"]).embeddings
    total = embeddings[0] + embeddings[1] - embeddings[2]
    expected = client.search("holiday", embedding=total)
    assert [hit["id"] for hit in document["hits"]] == [hit.id for hit in expected]
    assert document["hits"][0]["score"] == pytest.approx(expected[0].score, abs=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        ("--image", "{photos}/a.png", "--plus", "at night"),
        ("--like", "a.png", "--minus", "people"),
        ("--plus", "a", "--plus", "b", "--minus", "c"),
        ("--plus", "alone"),
    ],
)
def test_parts_of_a_query_go_together(answer, indexed, words):
    words = [word.replace("{photos}", str(indexed)) for word in words]
    assert answer("search", *words, "-c", "holiday")["hits"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((), "give what to search for: TEXT, --image or --like"),
        (("--minus", "people"), "--minus needs something to search for"),
        (("a", "--like", "b"), "only one of TEXT, --image and --like"),
        (("",), "TEXT is empty"),
        ((" \n",), "TEXT is empty"),
        (("a", "--plus", ""), "--plus is empty"),
        (("a", "--minus", " "), "--minus is empty"),
    ],
)
def test_queries_that_cannot_be_are_refused(run, words, hint):
    assert hint in run("search", *words, "-c", "holiday", code=2).output


def test_a_query_alone_is_no_weighted_one():
    assert Query(None, None, None, ("only",), ()).arguments()["text"] == "only"
    parts = Query("a", None, None, ("b",), ("c",)).arguments()["weighted"]
    assert [(part.text, part.weight) for part in parts] == [("a", 1), ("b", 1), ("c", -1)]


def test_queries_are_titled_in_words(tmp_path):
    query = Query("a beach", None, None, ("at night",), ("people", "cars"))
    assert query.title() == "“a beach” + “at night” − “people” − “cars”"
    assert Query(None, tmp_path / "a.jpg", None, (), ()).title() == "like a.jpg"
    assert Query(None, None, "sea/c.png", (), ()).title() == "like sea/c.png"


def test_filters_narrow_the_search(answer, run, indexed):
    document = answer("search", "x", "-c", "holiday", "--filter", 'folder == "sea" and bytes > 0')
    assert {hit["payload"]["folder"] for hit in document["hits"]} == {"sea"}
    text = run("search", "x", "-c", "holiday", "--filter", "folder = 1", code=2).output
    assert "column 8: write ==" in text
    assert "--filter" in text


def test_near_duplicates_are_shown_as_one(answer, run, indexed):
    hits = answer("search", "--image", indexed / "b.png", "-c", "holiday", "--group-duplicates")["hits"]
    best = hits[0]
    names = {best["id"], *(hit["id"] for hit in best["duplicates"])}
    assert names >= {"b.png", "copy1.png", "copy2.png", "sea/copy3.png"}
    assert all(hit["path"] for hit in best["duplicates"])
    text = run("search", "--image", indexed / "b.png", "-c", "holiday", "--group-duplicates").stdout
    assert f"+{len(best['duplicates'])} near-duplicates" in text


def test_percentiles_are_shown_where_there_are_any(answer, run, many):
    text = run("search", "--like", "p3", "-c", many).stdout
    assert "percentile" in text
    assert re.search(r"\d %", text)
    hits = answer("search", "--like", "p3", "-c", many)["hits"]
    assert 0 <= hits[-1]["percentile"] <= hits[0]["percentile"] <= 100
    assert "percentile" not in run("search", "a", "--plus", "b", "-c", many).stdout
    assert answer("search", "a", "--plus", "b", "-c", many)["hits"][0]["percentile"] is None


def test_too_few_points_for_percentiles_are_told(run, client, many, photos):
    told = "holiday has only 5 points; with 20 or more, searches also tell"
    assert told in run("index", photos, "-c", "holiday").stderr
    assert told in run("search", "a", "-c", "holiday").stderr
    assert "with 20 or more" not in run("search", "a", "--plus", "b", "-c", "holiday").stderr
    assert "with 20 or more" not in run("search", "a", "-c", many).stderr
    client.create_collection("none")
    assert "with 20 or more" not in run("search", "a", "-c", "none").stderr


def test_a_search_in_which_nothing_matches_well_says_so(answer, run, client, many, tmp_path):
    (tmp_path / "same.png").write_bytes(png(3))
    texts = (f"thing {i}" for i in range(40))
    unknown = next(text for text in texts if client.search(many, text=text).weak_match)
    for words, weak in (((unknown,), True), (("--image", tmp_path / "same.png"), False)):
        document = answer("search", *words, "-c", many)
        assert document["weak_match"] is weak
        assert (document["hits"][0]["percentile"] < 95) is weak
        assert ("nothing here matches well" in run("search", *words, "-c", many).stdout) is weak


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0 %"), (99.976, "99.97 %"), (99.999, "99.99 %"), (50.5, "50.5 %"), (100.0, "100 %")],
)
def test_percentiles_are_never_rounded_up(value, text):
    assert percentile(value) == text


def test_sheets_show_groups_and_percentiles(run, answer, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(22):
        (folder / f"p{i}.png").write_bytes(png(i))
    for i in range(6):
        shutil.copy(folder / "p0.png", folder / f"copy{i}.png")
    answer("index", folder, "-c", "holiday")
    words = ("search", "--like", "p1.png", "-c", "holiday", "--group-duplicates", "-k", "99")
    hits = answer(*words)["hits"]
    grouped = max(hits, key=lambda hit: len(hit["duplicates"]))
    assert len(grouped["duplicates"]) >= 6
    run(*words, "--sheet", tmp_path / "hits.html")
    page = (tmp_path / "hits.html").read_text()
    assert f"+{len(grouped['duplicates'])} near-duplicate" in page
    assert "percentile " in page
    assert "the share of random pairs with a lower score" in page
    assert "like p1.png" in page
    pictures = [base64.b64decode(data) for data in re.findall(r'base64,([^"]+)"', page)]
    small = sum(max(Image.open(io.BytesIO(data)).size) <= 80 for data in pictures)
    assert small >= 4
    run(*words, "--sheet", tmp_path / "hits.png")
    with Image.open(tmp_path / "hits.png") as image:
        with_groups = image.height
    run(*words[:-3], "-k", str(len(hits)), "--sheet", tmp_path / "flat.png")
    with Image.open(tmp_path / "flat.png") as image:
        assert image.height < with_groups


@pytest.mark.parametrize("keep_sources", [True, False])
def test_sheets_show_pictures_that_only_the_server_has(run, client, tmp_path, keep_sources):
    client.create_collection("kept", schema={"path": "string"}, keep_sources=keep_sources)
    pictures = [Point(f"p{i}", image=png(i), payload={"path": f"p{i}.png"}) for i in range(18)]
    client.upsert("kept", [*pictures, Point("words", text="a text")])
    words = ("search", "--like", "p1", "-c", "kept", "-k", "99", "--sheet", tmp_path / "hits.html")
    said = run(*words).stderr
    page = (tmp_path / "hits.html").read_text()
    assert page.count("data:image/jpeg") == (18 if keep_sources else 0)  # the query's too
    assert ("its point was made of a text" in page) == keep_sources
    assert ("17 pictures are not shown: its folder was not indexed" in said) == (not keep_sources)


def test_the_file_on_this_machine_is_preferred_to_the_kept_picture(run, client, indexed, tmp_path):
    client.create_collection("kept", schema={"path": "string"}, keep_sources=True)
    client.upsert("kept", [Point("a", image=png(1), payload={"path": "a.png"})])
    (indexed / "a.png").write_bytes(png(1, 90, 20))
    run("search", "x", "-c", "kept", "--root", indexed, "--sheet", tmp_path / "hits.html")
    (picture,) = re.findall(r'base64,([^"]+)"', (tmp_path / "hits.html").read_text())
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        assert image.height > image.width


def test_points_are_deleted_by_id(run, answer, indexed, client):
    text = run("delete", "-c", "holiday", "a.png", "missing", input="y\n")
    assert "Delete 2 points of holiday?" in text.stderr
    assert "deleted 1 of 2 points" in text.stdout
    assert "Aborted" in run("delete", "-c", "holiday", "b.png", input="n\n", code=1).output
    assert client.count("holiday") == 7
    assert answer("delete", "-c", "holiday", "b.png", "--yes") == {"collection": "holiday", "deleted": 1}


def test_points_that_meet_a_filter_are_deleted(run, answer, indexed, client):
    text = run("delete", "-c", "holiday", "--filter", 'folder == "sea"', input="y\n")
    assert "Delete 4 points" in text.stderr
    assert client.count("holiday") == 4
    document = answer("delete", "-c", "holiday", "-f", 'folder == "sea"')
    assert document == {"collection": "holiday", "deleted": 0}
    text = run("delete", "-c", "holiday", "-f", "nothing == 1", "-y", code=2).output
    assert "has no field 'nothing'" in text


@pytest.mark.parametrize("words", [(), ("a.png", "--filter", "bytes > 1")])
def test_what_to_delete_is_said_once(run, words):
    assert "either by ID or with --filter" in run("delete", "-c", "holiday", *words, "-y", code=2).output


def test_groups_that_may_be_missing_are_told(run, answer, client):
    client.create_collection("crowd")
    client.upsert("crowd", [Point(f"p{i}", text="a dog") for i in range(60)])
    words = ("search", "a dog", "-c", "crowd")
    assert "later groups may be missing" in run(*words, "--group-duplicates").stderr
    assert answer(*words, "--group-duplicates")["incomplete"] is True
    assert "may be missing" not in run(*words).stderr
    assert answer(*words)["incomplete"] is False
