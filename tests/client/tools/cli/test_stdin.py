"""`-` is standard input wherever a command takes a file, a text or a list."""

from __future__ import annotations

import pytest
from client.pictures import png
from clipserve import Client, Point
from clipserve.tools.cli import main
from clipserve.tools.cli.stdin import FILE_OR_STDIN, LIST_OR_STDIN, PICTURES_OR_STDIN, TEXT_OR_STDIN

READS_STDIN = (FILE_OR_STDIN, LIST_OR_STDIN, PICTURES_OR_STDIN, TEXT_OR_STDIN)
NOT_INPUT = {"token_file", "ca", "cert", "key", "data"}
"""Files that are read several times, or whose names tell what they hold."""


@pytest.fixture
def holiday(server):
    """A collection of three points."""
    with Client(server.address) as client:
        client.create_collection("holiday", schema={"year": "int"})
        client.upsert("holiday", [Point(f"p{i}", image=png(i), payload={"year": 2020 + i}) for i in range(3)])
    return "holiday"


def parameters(command, path=()):
    """Every parameter of every command below."""
    for parameter in command.params:
        yield (*path, parameter.name), parameter
    for name, below in getattr(command, "commands", {}).items():
        yield from parameters(below, (*path, name))


def test_every_input_file_of_every_command_may_be_stdin():
    files = {
        where
        for where, parameter in parameters(main)
        if getattr(parameter.type, "exists", False)
        and getattr(parameter.type, "file_okay", False)
        and parameter.name not in NOT_INPUT
        and parameter.type not in READS_STDIN
    }
    assert not files
    texts = {where for where, parameter in parameters(main) if parameter.type is TEXT_OR_STDIN}
    assert {("search", "text"), ("search", "plus"), ("search", "filter_text"), ("embed", "texts")} <= texts


def test_a_picture_on_stdin_is_the_picture(run, answer, holiday, tmp_path):
    for command in (("classify", "-", "--labels", "a,b"), ("embed", "-")):
        assert answer(*command, input=png(1)) is not None
    (tmp_path / "a.png").write_bytes(png(1))
    here, there = answer("embed", "-", input=png(1)), answer("embed", tmp_path / "a.png")
    assert here["rows"][0]["name"] == "-"
    assert here["rows"][0]["embedding"] == there["rows"][0]["embedding"]
    hits = answer("search", "--image", "-", "-c", holiday, "-k", "1", input=png(1))["hits"]
    assert [hit["id"] for hit in hits] == ["p1"]
    run("search", "--image", "-", "-c", holiday, "--sheet", tmp_path / "hits.html", input=png(1))
    assert "the picture on standard input" in (tmp_path / "hits.html").read_text()


def test_texts_and_lists_come_from_stdin(run, answer, holiday):
    asked = answer("search", "a dog", "-c", holiday)
    assert answer("search", "-", "-c", holiday, input="a dog\n") == asked
    assert answer("search", "--plus", "-", "-c", holiday, input="a dog") == asked
    document = answer("search", "a dog", "-c", holiday, "--filter", "-", input="year == 2021\n")
    assert [hit["id"] for hit in document["hits"]] == ["p1"]
    assert [row["name"] for row in answer("embed", "--text", "-", input="two\nlines\r\n")["rows"]] == [
        "two\nlines"
    ]
    assert len(answer("embed", "--texts-file", "-", input="one\n\ntwo\n")["rows"]) == 2


def test_labels_and_prompts_come_from_stdin(run, answer, tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    words = ("classify", tmp_path / "a.png")
    given = answer(*words, "--labels", "cat,dog")["results"]
    assert answer(*words, "--labels", "-", input="cat\ndog\n")["results"] == given
    assert answer(*words, "--labels-file", "-", input="\ufeffcat\r\ndog")["results"] == given
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    run("labels", "put", "pets", tmp_path / "labels.txt", "--templates", "-", input="a {}\nthe {}\n")
    assert answer("labels", "get", "pets")["templates"] == ["a {}", "the {}"]


def test_points_are_deleted_by_ids_on_stdin(run, answer, holiday):
    assert "need --yes" in run("delete", "-c", holiday, "-", input="p0\n", code=2).output
    assert answer("delete", "-c", holiday, "--yes", "-", "p2", input="p0\n\n")["deleted"] == 2
    assert answer("collections", "show", holiday)["count"] == 1


def test_points_are_imported_from_stdin(run, answer, holiday, tmp_path):
    run("export", "-c", holiday, tmp_path / "out.parquet")
    document = answer("import", "-", "-c", "again", input=(tmp_path / "out.parquet").read_bytes())
    assert (document["written"], document["file"]) == (3, "-")


def test_class_names_of_a_set_come_from_stdin(run, answer, tmp_path):
    (tmp_path / "n1").mkdir()
    (tmp_path / "n1" / "a.png").write_bytes(png(1))
    (tmp_path / "n2").mkdir()
    (tmp_path / "n2" / "b.png").write_bytes(png(2))
    words = ("evaluate", "folder", "--data", tmp_path, "--names", "-")
    document = answer(*words, input="n1,cat\nn2,dog\n")
    assert [row["class"] for row in document["per_class"]] == ["cat", "dog"]
    assert "standard input:1: expected" in run(*words, input="cat", code=1).output


@pytest.mark.parametrize(
    "words",
    [
        ("classify", "-", "--labels-file", "-"),
        ("classify", "-", "-", "--labels", "a"),
        ("embed", "--text", "-", "--texts-file", "-"),
        ("search", "-", "-c", "holiday", "--minus", "-"),
    ],
)
def test_stdin_is_given_for_one_thing_only(run, words):
    assert "can be read only once" in run(*words, input=b"x", code=2).output


def test_an_empty_or_unreadable_stdin_says_so(run):
    assert "standard input is empty" in run("embed", "-", "--json", input=b"", code=1).output
    result = run("embed", "--texts-file", "-", "--json", input=b"\xff\xfe\xfa", code=2)
    assert "standard input: it begins like UTF-16-LE" in result.output


def test_a_file_named_like_it_is_given_with_its_folder(answer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(png(1))
    assert answer("embed", "./-", input=b"")["errors"] == []
