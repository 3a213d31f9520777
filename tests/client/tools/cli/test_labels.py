"""`clipserve labels`, and label sets in `clipserve classify`."""

from __future__ import annotations

import json

import click
import pytest
from client.fake_server import Refused
from clipserve.labels import LabelSet, NoneOfTheAbove
from clipserve.tools.cli import label_files
from hypothesis import given
from hypothesis import strategies as st

PETS = {
    "names": ["cat", "dög"],
    "templates": ["a photo of a {}."],
    "thresholds": [0.3, 0.25],
    "none_of_the_above": {"name": "no pet", "prompts": ["a photo."], "threshold": 0.1},
}


@pytest.fixture
def birds(tmp_path):
    """A file of labels."""
    file = tmp_path / "birds.txt"
    file.write_text("# birds of the garden\nrobin\n\n  house sparrow \n", encoding="utf-8-sig")
    return file


def test_labels_are_kept_line_by_line(run, answer, client, birds, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a photo of a {}.\n{} in a tree\n")
    text = run("labels", "put", "birds", birds, "--templates", prompts, "-t", "a {}").output
    assert "stored birds@1: 2 labels × 3 templates" in text
    stored = client.get_label_set("birds").labels
    assert stored.names == ("robin", "house sparrow")
    assert stored.templates == ("a {}", "a photo of a {}.", "{} in a tree")
    text = run("labels", "put", "birds", birds, "--templates", prompts, "-t", "a {}").output
    assert "birds@1 has the same labels already" in text
    assert answer("labels", "put", "birds", birds)["version"] == 2


def test_labels_come_from_standard_input(run, client):
    run("labels", "put", "pets", "-", input="cat\ndog\n")
    assert client.get_label_set("pets").labels.names == ("cat", "dog")
    run("labels", "put", "pets", "-", input=json.dumps(PETS))
    stored = client.get_label_set("pets").labels
    assert stored.none_of_the_above.name == "no pet"
    assert stored.thresholds == pytest.approx((0.3, 0.25))


def test_what_get_prints_is_what_put_reads(run, answer):
    run("labels", "put", "pets", "-", input=json.dumps(PETS))
    printed = run("labels", "get", "pets").stdout
    assert json.loads(printed) == PETS
    assert "has the same labels already" in run("labels", "put", "pets", "-", input=printed).output
    with_info = answer("labels", "get", "pets@1")
    assert with_info["info"]["version"] == 1
    assert (
        "has the same labels already" in run("labels", "put", "pets", "-", input=json.dumps(with_info)).output
    )


def test_label_sets_are_listed_and_removed(run, answer, birds):
    assert "no label sets" in run("labels").output
    run("labels", "put", "birds", birds)
    run("labels", "put", "birds", birds, "-t", "the {}")
    run("labels", "put", "cats", birds)
    text = run("labels").output
    assert "birds" in text
    assert "2 of 2" in text
    document = answer("labels", "list")["label_sets"]
    assert [(info["name"], info["versions"]) for info in document] == [("birds", [1, 2]), ("cats", [1])]
    assert "Aborted" in run("labels", "rm", "birds", input="n\n", code=1).output
    assert "removed birds@1 (1 version)" in run("labels", "rm", "birds@1", "--yes").output
    run("labels", "put", "birds", birds)
    asked = run("labels", "rm", "birds", input="y\n")
    assert "Remove birds with its 2 versions for good?" in asked.stderr
    assert answer("labels", "rm", "cats", "-y") == {"name": "cats", "deleted": 1}
    text = run("labels", "get", "cats", code=1).output
    assert "`clipserve labels` lists the label sets" in text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "has no labels"),
        ("# nothing\n", "has no labels"),
        ("{", "is not valid JSON"),
        ("{\n]", "standard input: line 2 is not valid JSON"),
        ("{}", "names is missing"),
        ('{"names": "cat"}', "names must be a list of strings"),
        ('{"names": ["cat", 1]}', "names[1] must be a string"),
        ('{"names": ["cat"], "template": ["{}"]}', "has no key 'template'"),
        ('{"names": ["cat"], "thresholds": ["high"]}', "thresholds[0] must be a number"),
        ('{"names": ["cat"], "thresholds": 0.5}', "thresholds is not a list"),
        ('{"names": ["cat"], "none_of_the_above": "none"}', "none_of_the_above must be a JSON object"),
        ('{"names": ["cat"], "none_of_the_above": {"prompt": ""}}', "has no key 'prompt'"),
    ],
)
def test_files_that_hold_no_labels_say_why(run, text, hint):
    assert hint in run("labels", "put", "pets", "-", input=text, code=2).output


def test_what_the_server_refuses_is_named(run):
    text = run("labels", "put", "pets", "-", input="cat\n\n# no\nc\0\n", code=2).output
    assert "standard input: it has NUL bytes" in text
    text = run("labels", "put", "pets", "-", "-t", "{}", "-t", "{{}}", input="cat\n", code=1).output
    assert "Error: --template, template 2: " in text
    run("labels", "get", "pets@0", code=2)
    run("labels", "rm", "@3", "-y", code=2)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
cosines = st.floats(-1, 1, width=32)
label_sets = st.builds(
    LabelSet,
    st.lists(names, min_size=1, max_size=4, unique=True).map(tuple),
    st.lists(names, max_size=3).map(tuple),
    st.lists(cosines, max_size=4).map(tuple),
    st.none() | st.builds(NoneOfTheAbove, names, st.lists(names, max_size=2).map(tuple), cosines),
)


@given(label_sets)
def test_every_label_set_comes_back_from_its_file(labels):
    read_again = label_files.read(json.dumps(label_files.document(labels)), "a.json").labels
    assert (read_again.names, read_again.templates) == (labels.names, labels.templates)
    assert [label_files.short(value) for value in read_again.thresholds] == list(read_again.thresholds)
    assert read_again.thresholds == pytest.approx(labels.thresholds, abs=1e-7)
    assert (read_again.none_of_the_above is None) == (labels.none_of_the_above is None)


def test_no_label_is_asked_for_by_true():
    read = label_files.read('{"names": ["a"], "none_of_the_above": true}', "a.json")
    assert read.labels.none_of_the_above == NoneOfTheAbove()
    with pytest.raises(click.UsageError):
        label_files.read('{"names": ["a"], "none_of_the_above": 5}', "a.json")


def test_pictures_are_named_by_stored_labels(run, answer, photos, birds):
    run("labels", "put", "birds", birds)
    run("labels", "put", "birds", birds, "-t", "a {}, a bird")
    document = answer("classify", photos / "a.png", "--label-set", "birds@1")
    assert document["label_set"] == "birds@1"
    assert {score["label"] for score in document["results"][0]["labels"]} == {"robin", "house sparrow"}
    assert answer("classify", photos, "--label-set", "birds", "-k", "0")["label_set"] == "birds@2"
    assert answer("classify", photos / "a.png", "--label-set", "cifar10")["label_set"] is None


def test_stored_labels_have_their_own_templates(run, photos, birds):
    run("labels", "put", "birds", birds)
    for words in (("-t", "a {}"), ("--threshold", "0.2")):
        text = run("classify", photos / "a.png", "--label-set", "birds", *words, code=2).output
        assert "does not apply to the stored label set birds" in text
    assert "`clipserve labels`" in run("classify", photos / "a.png", "--label-set", "none", code=1).output
    assert "pets@3" in run("classify", photos / "a.png", "--label-set", "a@b", code=2).output


def test_progress_is_shown_where_prompts_are_encoded_and_not_where_they_are_known(run, photos, server):
    words = ("classify", photos / "a.png", "--label-set", "imagenet1k", "-t", "a {}", "-t", "the {}")
    told = run(*words).stderr
    assert "Encoding prompts, once for this model" in told
    assert "1996/1996" in told
    assert "ncoding" not in run(*words).stderr
    assert run(*words, "--json").stderr == ""


def test_many_labels_of_a_file_are_better_put(run, photos, tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("".join(f"label {i}\n" for i in range(600)))
    words = ("classify", photos / "a.png", "--labels-file", file, "-t", "a {}", "-t", "the {}")
    assert "`clipserve labels put NAME FILE`" in run(*words).stderr
    assert run(*words).stderr == ""


def test_an_older_server_encodes_labels_for_the_first_picture(run, photos, server):
    server.script("PrepareLabels", *[Refused("UNIMPLEMENTED", "", "unknown", details=False)] * 2)
    words = ("-t", "a {}", "-t", "the {}")
    text = run("classify", photos / "a.png", "--label-set", "imagenet1k", *words).output
    assert "probability" in text
    run("evaluate", "folder", "--data", photos)
    assert len(server.seen("PrepareLabels")) == 2


@pytest.mark.parametrize("name", ["imagenet1k", "cifar10", "cifar100"])
def test_names_of_label_sets_that_come_along_are_not_put(run, client, tmp_path, name):
    (tmp_path / "a.txt").write_text("cat\ndog\n")
    told = " ".join(run("labels", "put", name, tmp_path / "a.txt", code=2).stderr.split())
    assert f"{name} is the name of a label set that comes with this command" in told
    assert name not in {info.name for info in client.list_label_sets()}
    run("labels", "put", f"my-{name}", tmp_path / "a.txt")
