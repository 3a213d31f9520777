"""Files and lists of labels: one meaning for all commands, and errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from client.pictures import png
from clipserve.inputs.text_encoding import NotText, decoded, encoding_of, lines_in
from clipserve.tools.cli import label_files
from clipserve.tools.cli.listed import Listed, Place, from_commas, from_lines, joined, with_places
from hypothesis import given
from hypothesis import strategies as st

FILES = {
    "crlf.txt": (b"cat\r\ndog\r\n", ("cat", "dog")),
    "old-mac.txt": (b"cat\rdog\r", ("cat", "dog")),
    "two-marks.txt": (b"\xef\xbb\xbf\xef\xbb\xbfcat\ndog", ("cat", "dog")),
    "two-marks.json": ('\ufeff\ufeff["cat", "dog"]'.encode("utf-16-le"), ("cat", "dog")),
    "mark.txt": ("\ufeffcat\ndog".encode(), ("cat", "dog")),
    "utf16.txt": ("\ufeffcat\r\ndög\r\n".encode("utf-16-le"), ("cat", "dög")),
    "utf16be.txt": ("\ufeffcat\ndög".encode("utf-16-be"), ("cat", "dög")),
    "utf32.txt": ("\ufeffcat\ndog".encode("utf-32-le"), ("cat", "dog")),
    "hash.txt": (b"#1 fan\ncat\n# comment\n##\n#selfie\n", ("#1 fan", "cat", "#selfie")),
    "quoted.txt": (
        b'"salt, pepper"\n"# 1"\n"say ""hi"""\n"Weird Al" Yankovic\n12" disk\n"a" or "b"\n',
        ("salt, pepper", "# 1", 'say "hi"', '"Weird Al" Yankovic', '12" disk', '"a" or "b"'),
    ),
    "commas.txt": (b"salt, pepper\ncat\n", ("salt, pepper", "cat")),
    "separators.txt": ("one\u2028label\nnext\x85too\n".encode(), ("one\u2028label", "next\x85too")),
    "list.json": (b'["cat", "# dog"]', ("cat", "# dog")),
    "bracket.txt": (b"[red] car\n[blue] car\n", ("[red] car", "[blue] car")),
    "set.json": (b'{"names": ["cat", "dog"], "templates": ["a {}"]}', ("cat", "dog")),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_means_the_same_labels_to_every_command(run, answer, photos, client, tmp_path, name):
    content, labels = FILES[name]
    (tmp_path / name).write_bytes(content)
    run("labels", "put", "kept", tmp_path / name)
    kept = client.get_label_set("kept").labels
    assert kept.names == labels
    for words in (("--labels-file", tmp_path / name), ("--labels-file", "-"), ("--labels", "-")):
        stdin = {"input": content} if words[1] == "-" else {}
        document = answer("classify", photos / "a.png", *words, "-k", "0", **stdin)
        assert {score["label"] for score in document["results"][0]["labels"]} == set(labels)
    wanted = client.classify([photos / "a.png"], label_set="kept", top_k=99)[0].scores
    assert [round(score["cosine"], 5) for score in document["results"][0]["labels"]] == [
        round(score.cosine, 5) for score in wanted
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cat\ndog\n\ncat\n", "labels.txt, line 4: 'cat' is also line 1"),
        (b'cat\n"dog\n', "labels.txt, line 2: '\"dog' begins with a quote that is not closed"),
        ("cat\ndog".encode("utf-16-le"), "labels.txt: it looks like UTF-16-LE without a byte order mark"),
        ("cat\ndog".encode("utf-16-be"), "labels.txt: it looks like UTF-16-BE without a byte order mark"),
        (b"\xff\xfec\0a", "labels.txt: it begins like UTF-16-LE but is not valid"),
        (b"cat\r\ncaf\xe9\r\n", "labels.txt: line 2 is not valid UTF-8 (byte 0xE9)"),
        (b"a\0bcdefgh", "labels.txt: it has NUL bytes"),
        (b"\n# none\n", "labels.txt has no labels"),
        (b"[]", "labels.txt has no labels"),
        (b'["cat", 1]', "labels.txt: the list[1] must be a string"),
        (b'{"names": ["cat"], "names": ["dog"]}', "labels.txt: 'names' occurs twice"),
        (b'{"names": ["cat", "dog", "cat"]}', "labels.txt, name 3: 'cat' is also name 1"),
        (b'{"names": ' + b"[" * 100_000, "labels.txt: "),
    ],
)
def test_what_is_wrong_with_a_file_is_named_with_its_line(run, photos, tmp_path, content, words):
    file = tmp_path / "labels.txt"
    file.write_bytes(content)
    for command in (("labels", "put", "kept", file), ("classify", photos / "a.png", "--labels-file", file)):
        assert words in run(*command, code=2).stderr.replace(str(tmp_path) + "/", "")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", '[\n"cat",\n"dog",\n]\n', "a.txt: line"),
        ("a.txt", '[\r\n"cat"\r\n"dog"\r\n]', "a.txt: line 3 is not valid JSON: Expecting ',' delimiter"),
        ("a.txt", '["cat", "dog",]', "a.txt: line 1 is not valid JSON"),
        ("a.txt", '["cat",\n "dog"', "a.txt: line 2 is not valid JSON"),
        ("a.txt", "[\ncat\n]", "a.txt: line 2 is not valid JSON"),
        ("a.JSON", "cat\ndog\n", "a.JSON: line 1 is not valid JSON"),
        ("a.json", '"cat"', "a.json: the JSON must be a list of strings"),
        ("a.json", "[cat, dog]", "a.json: line 1 is not valid JSON"),
        ("a.json", "[" * 100_000, "a.json: the JSON is nested too deep"),
    ],
)
def test_what_is_meant_to_be_json_is_json_or_an_error(name, content, words):
    for read in label_files.read, label_files.read_prompts:
        with pytest.raises(click.UsageError) as error:
            read(content, name)
        assert words in error.value.message


def test_a_json_list_from_standard_input_stands_among_other_labels(answer, run, photos):
    words = ("classify", photos / "a.png", "-k", "0", "-l", "owl", "-l", "-")
    document = answer(*words, input='["cat", "dog"]')
    assert {score["label"] for score in document["results"][0]["labels"]} == {"owl", "cat", "dog"}
    assert "line 3 is not valid JSON" in run(*words, input='[\n"cat"\n"dog"\n]', code=2).stderr


def test_errors_of_the_server_name_the_line_and_the_field(run, photos, tmp_path):
    file, prompts = tmp_path / "labels.txt", tmp_path / "prompts.txt"
    file.write_bytes(b"cat\n# a comment\n\ndog\n")
    prompts.write_text("a {}\n\n# and\na {{}}\n")
    put = ("labels", "put", "kept", file, "--templates", prompts)
    assert f"Error: {prompts}, line 4: " in run(*put, code=1).stderr
    error = json.loads(run(*put, "--json", code=1).stderr)["error"]
    assert error["field"] == "labels.templates[1]"
    assert error["message"].startswith(f"{prompts}, line 4: ")
    for command in ("classify", photos / "a.png", "--labels", "cat"), ("labels", "put", "kept", file):
        assert "--template, template 2: " in run(*command, "-t", "{}", "-t", "{x}", code=1).stderr
    file.write_text(json.dumps({"names": ["cat", "d\0g"]}))
    assert f"{file}, name 2: " in run("labels", "put", "kept", file, code=1).stderr


def test_labels_that_the_model_cannot_tell_apart_are_told_with_their_lines(run, answer, photos, tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("Cat\n\ndog\ncat\n# no\n" + "word " * 90 + "\nCAT\n")
    commands = ("labels", "put", "kept", file), ("classify", photos / "a.png", "--labels-file", file)
    for command in commands:
        told = run(*command).stderr
        assert f"Warning: {file}, lines 1, 4 and 7: " in told
        assert f"Warning: {file}, line 6: " in told
        assert "ignored 1 comment" in told
        document = answer(*command)["warnings"]
        assert [(one["reason"], one["labels"]) for one in document] == [("cut", [3]), ("same", [0, 2, 4])]
    assert "Warning: look at" in run("classify", photos / "a.png", "--label-set", "kept").stderr


def test_notes_say_what_may_not_have_been_meant(run, photos, tmp_path):
    file = tmp_path / "labels.txt"
    words = ("classify", photos / "a.png", "--labels-file", file)
    file.write_text("#birds\nrobin\n")
    assert f"{file}, line 1: '#birds' is read" in run(*words).stderr
    file.write_text("cat, dog, bird\n")
    assert f"{file}, line 1: 'cat, dog, bird' is read as one entry" in run(*words).stderr
    file.write_text('"cat, dog"\n')
    assert run(*words).stderr == ""


def test_labels_in_quotes_may_hold_commas(answer, run, photos, monkeypatch):
    words = ("classify", photos / "a.png", "-k", "0")
    document = answer(*words, "-l", '"salt, pepper", cat', "-l", 'dog,"say ""hi"""')
    labels = {score["label"] for score in document["results"][0]["labels"]}
    assert labels == {"salt, pepper", "cat", "dog", 'say "hi"'}
    assert "is not closed" in run(*words, "-l", '"salt, pepper', code=2).stderr
    assert "is not closed" in run(*words, "-l", '"a"b,c', code=2).stderr
    told = run(*words, "-l", "cat,dog", "-l", "cat", code=2).stderr
    assert "--labels, label 3: 'cat' is also label 1" in told
    assert "--labels is empty" in run(*words, "-l", " , ", code=2).stderr
    monkeypatch.chdir(photos)
    assert "is a file; give it with --labels-file" in run(*words, "-l", "a.png", code=2).stderr


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.lists(text, max_size=6))
def test_every_list_of_labels_can_be_written_in_lines(labels):
    clean = [label.strip() for label in labels]
    clean = [label for label in clean if label and lines_in(label) == [label]]
    written = "\n".join('"' + label.replace('"', '""') + '"' for label in clean)
    assert list(from_lines(written, "a").texts) == clean


@given(st.lists(text, max_size=6))
def test_every_list_of_labels_can_be_written_with_commas(labels):
    clean = [label.strip() for label in labels]
    clean = [label for label in clean if label and lines_in(label) == [label] and "\0" not in label]
    written = ",".join('"' + label.replace('"', '""') + '"' for label in clean)
    assert list(from_commas(written, "a")) == clean


@given(text, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_text_with_a_mark_is_read_in_every_encoding(written, encoding):
    if encoding == "utf-8":
        written = written.replace("\0", "").removeprefix("\ufeff")
    if encoding != "utf-8-sig" or "\0" not in written:
        assert decoded(written.encode(encoding)) == written


@given(st.binary(max_size=40))
def test_bytes_are_text_or_refused(content):
    try:
        written = decoded(content)
    except NotText:
        return
    encoding, start = encoding_of(content)
    assert written.encode(encoding) == content[start:]


@given(text)
def test_a_place_is_the_line_that_an_editor_shows(written):
    try:
        listed = from_lines(written, "a")
    except click.UsageError:
        return
    lines = written.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for entry, place in zip(listed.texts, listed.places, strict=True):
        line = lines[place.number - 1]
        assert entry in line or entry in line.replace('""', '"')


def test_places_in_words():
    places = [Place("a.txt", "line", i) for i in (1, 4, 7)]
    assert joined(places) == "a.txt, lines 1, 4 and 7"
    assert joined([*places[:1], Place("--labels", "label", 2)]) == "a.txt, line 1; --labels, label 2"
    assert joined([]) == ""
    known = {"names": places, "texts": places[2:]}
    assert with_places("texts[0] and labels[1] and alltexts[0]", known) == (
        "a.txt, line 7 and a.txt, line 4 and alltexts[0]"
    )
    assert with_places("labels.names[1]: no. See labels.names[9], labels.templates[0]", known) == (
        "a.txt, line 4: no. See labels.names[9], labels.templates[0]"
    )


def test_lists_add_up():
    both = Listed(("a",), (Place("x", "line", 1),), ("note",)) + Listed(("b",), (Place("y", "line", 1),))
    assert both.texts == ("a", "b")
    assert [str(place) for place in both.places] == ["x, line 1", "y, line 1"]
    assert both.notes == ("note",)


def test_prompts_are_read_like_labels():
    assert label_files.read_prompts('# mine\n"a {}, b"\n', "p").texts == ("a {}, b",)
    assert label_files.read_prompts('["a {}"]', "p").texts == ("a {}",)
    with pytest.raises(click.UsageError, match="p: the list"):
        label_files.read_prompts("[1]", "p")


def test_the_samples_of_the_demo_are_read(run, photos):
    labels = Path(__file__).parents[4] / "demo/labels.txt"
    assert run("classify", photos / "a.png", "--labels-file", labels).stderr == ""


def test_an_evaluation_tells_equal_classes_and_cut_prompts(run, answer, tmp_path):
    for i, name in enumerate(("Cat", "cat", "dog")):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "a.png").write_bytes(png(i))
    (tmp_path / "prompts.txt").write_text("# mine\na {}.\na {}" + " word" * 80 + "\n")
    words = ("evaluate", "folder", "--data", tmp_path / "set", "--templates", tmp_path / "prompts.txt")
    told = run(*words).stderr
    assert "Warning: look at Cat, cat" in told
    assert "Warning: 3 prompts are longer than the model reads; their end was cut off" in told
    assert "prompts.txt: ignored 1 comment" in told
    document = answer(*words)
    assert document["truncated_prompts"] == 3
    assert document["warnings"][0]["labels"] == [0, 1]
    (tmp_path / "prompts.txt").write_text("a {}.\n{}{}\n")
    assert f"{tmp_path}/prompts.txt, line 2: " in run(*words, code=1).stderr
