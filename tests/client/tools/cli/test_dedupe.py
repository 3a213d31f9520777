"""`clipserve dedupe`, as a person and as a machine use it."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from client.pictures import png
from clipserve.tools.cli import dedupe
from clipserve.tools.sheets.entries import Entry
from clipserve.tools.sheets.group_sheet import SHOWN_MEMBERS, GroupSheet, Row, write_group_sheet
from clipserve.types import Point
from PIL import Image


def at(degrees):
    """float32 [16], length 1: a point on a circle."""
    row = np.zeros(16, np.float32)
    row[:2] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return row


@pytest.fixture
def album(client):
    """Two groups: b and c beside the larger a, and e beside d; f alone."""
    client.create_collection("album", schema={"path": "string", "bytes": "int", "folder": "string"})
    facts = {"a": (0, 300), "b": (2, 200), "c": (5, 100), "d": (90, 100), "e": (91, 900), "f": (200, 1)}
    points = [
        Point(name, embedding=at(angle), payload={"path": f"{name}.png", "bytes": size, "folder": "x"})
        for name, (angle, size) in facts.items()
    ]
    client.upsert("album", points)
    return "album"


def members(document):
    return [[member["id"] for member in group["members"]] for group in document["groups"]]


def test_groups_are_shown_with_the_one_to_keep(run, answer, album):
    text = run("dedupe", "-c", album).stdout
    assert re.search(r"keep +a\.png", text)
    assert re.search(r"0\.999 +b\.png", text)
    assert "2 groups of near-duplicates among 6 points; 3 of them can be deleted" in text
    assert "--delete" in text
    document = answer("dedupe", "-c", album)
    assert members(document) == [["a", "b", "c"], ["e", "d"]]
    assert [group["kept"] for group in document["groups"]] == ["a", "e"]
    assert (document["points"], document["duplicates"], document["deleted"]) == (6, 3, 0)
    assert document["groups"][0]["members"][0]["cosine"] == 1.0
    assert document["groups"][0]["members"][1]["cosine"] == pytest.approx(np.cos(np.radians(2)), abs=1e-6)


def test_a_group_names_each_folder_once(run, answer, photos):
    (photos / "sea" / "copy.png").write_bytes((photos / "a.png").read_bytes())
    run("index", photos, "-c", "holiday")
    text = run("dedupe", "-c", "holiday", "-t", "0.999").stdout
    assert re.search(rf"sea/copy\.png +{photos}$", text, re.MULTILINE)
    [group] = answer("dedupe", "-c", "holiday", "-t", "0.999")["groups"]
    assert str(photos / "sea" / "copy.png") in [member["path"] for member in group["members"]]


def test_the_threshold_and_the_filter_choose(answer, album, client):
    assert members(answer("dedupe", "-c", album, "-t", "0.9998")) == [["e", "d"]]
    assert members(answer("dedupe", "-c", album, "--filter", "bytes <= 200")) == [["b", "c"]]
    assert members(answer("dedupe", "-c", album, "--keep", "first")) == [["a", "b", "c"], ["d", "e"]]


def test_a_filter_that_cannot_be_says_why(run, album):
    text = run("dedupe", "-c", album, "--filter", "bytes <=", code=2).output
    assert "--filter" in text
    run("dedupe", "-c", album, "--threshold", "0", code=2)
    run("dedupe", "-c", album, "--sheet", "x.gif", code=2)


def test_deleting_asks_and_keeps_one_of_each_group(run, answer, album, client):
    result = run("dedupe", "-c", album, "--delete", input="n\n", code=1)
    assert "Delete 3 points of album and keep one in each of 2 groups?" in result.stderr
    assert client.count(album) == 6
    assert "deleted 3 points" in run("dedupe", "-c", album, "--delete", input="y\n").stdout
    assert {point.id for point in client.get_points(album, list("abcdef"))} == set("aef")
    document = answer("dedupe", "-c", album, "--delete")
    assert (document["groups"], document["deleted"]) == ([], 0)


def test_deleting_all_duplicates_may_be_automatic(answer, album, client):
    assert answer("dedupe", "-c", album, "--delete", "--yes", "--keep", "first")["deleted"] == 3
    assert {point.id for point in client.get_points(album, list("abcdef"))} == set("adf")


def test_an_empty_collection_has_no_duplicates(run, client):
    client.create_collection("empty")
    assert "0 groups of near-duplicates among 0 points" in run("dedupe", "-c", "empty").stdout


def test_more_points_than_can_be_compared_are_refused(run, album, monkeypatch):
    monkeypatch.setattr(dedupe, "MOST_POINTS", 5)
    text = run("dedupe", "-c", album, code=1).output
    assert "6 points are too many" in text
    assert "--filter" in text
    run("dedupe", "-c", album, "--filter", "bytes < 900")


def test_long_lists_are_cut_for_people(run, client):
    client.create_collection("many")
    points = [
        Point(f"p{i:02}-{j}", embedding=np.eye(16)[i % 16] * (1 + j)) for i in range(16) for j in range(9)
    ]
    client.upsert("many", points)
    text = run("dedupe", "-c", "many").stdout
    assert text.count("… and 3 more") == 16
    assert "16 groups" in text


@pytest.mark.parametrize("suffix", ["png", "html"])
def test_a_sheet_shows_a_row_for_each_group(run, photos, tmp_path, suffix):
    for name in ("copy.png", "sea/copy.png"):
        (photos / name).write_bytes((photos / "a.png").read_bytes())
    run("index", photos, "-c", "holiday")
    out = tmp_path / f"out.{suffix}"
    assert f"wrote {out}" in run("dedupe", "-c", "holiday", "-t", "0.999", "--sheet", out).stdout
    if suffix == "png":
        with Image.open(out) as image:
            assert image.width > image.height > 300
    else:
        page = out.read_text()
        assert "1 · 3 pictures" in page
        assert page.count("data:image/jpeg") == 3
        assert "sea/copy.png" in page


def test_a_sheet_shows_pictures_that_only_the_server_has(run, client, tmp_path):
    client.create_collection("kept", keep_sources=True)
    client.upsert("kept", [Point(f"p{i}", image=png(i % 3)) for i in range(6)])
    run("dedupe", "-c", "kept", "-t", "0.999", "--sheet", tmp_path / "out.html")
    assert (tmp_path / "out.html").read_text().count("data:image/jpeg") == 6


@pytest.fixture
def entries(tmp_path):
    made = []
    for i in range(SHOWN_MEMBERS + 2):
        path = tmp_path / f"p{i}.png"
        path.write_bytes(png(i))
        made.append(Entry(f"<p{i}>.png", 1 - i / 100, path))
    return made


def test_sheets_leave_out_what_is_too_much_and_say_so(entries, tmp_path, monkeypatch):
    monkeypatch.setattr("clipserve.tools.sheets.group_sheet.SHOWN_GROUPS", {".png": 1, ".html": 2})
    sheet = GroupSheet("title", "subtitle", [Row(entries), Row(entries[:2]), Row(entries[:3])])
    assert write_group_sheet(sheet, tmp_path / "out.html") == 2
    page = (tmp_path / "out.html").read_text()
    assert "10 pictures, 2 of them not shown" in page
    assert "1 smaller groups are not shown" in page
    assert len(re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)) == SHOWN_MEMBERS + 2
    assert "&lt;p0&gt;.png" in page
    assert write_group_sheet(sheet, tmp_path / "out.png") == 1


def test_a_drawn_sheet_has_the_pictures(entries, tmp_path):
    write_group_sheet(GroupSheet("title", "subtitle", [Row(entries[:4])]), tmp_path / "few.png")
    write_group_sheet(GroupSheet("title", "subtitle", [Row(entries[:4])] * 3), tmp_path / "more.png")
    write_group_sheet(GroupSheet("title", "subtitle", []), tmp_path / "none.png")
    sizes = []
    for name in ("none", "few", "more"):
        with Image.open(io.BytesIO((tmp_path / f"{name}.png").read_bytes())) as image:
            sizes.append(image.size)
            colors = len(image.getcolors(1_000_000))
            assert (colors > 2_000) == (name != "none")
    assert sizes[0][1] < sizes[1][1] < sizes[2][1]
    assert sizes[1][0] == sizes[2][0]


def test_sheets_have_known_suffixes(tmp_path):
    with pytest.raises(ValueError, match="not as 'x"):
        write_group_sheet(GroupSheet("t", "s", []), tmp_path / "x.gif")


def test_pages_hold_pictures_that_open(entries, tmp_path):
    write_group_sheet(GroupSheet("t", "s", [Row(entries[:2])]), tmp_path / "out.html")
    data = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', (tmp_path / "out.html").read_text())[0]
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.width / image.height == pytest.approx(4 / 3, abs=0.02)
