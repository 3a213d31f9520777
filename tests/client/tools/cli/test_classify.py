"""`clipserve classify`."""

from __future__ import annotations

import itertools
import math

import pytest
from client.fake_model import LOGIT_SCALE


def test_classify_names_pictures(run, answer, photos):
    text = run("classify", photos / "a.png", "--labels", "cat, dog,bird", "-k", "2").output
    assert "a.png" in text
    assert text.count("%") == 2
    document = answer("classify", photos, "-l", "cat", "-l", "dog,bird", "-t", "a {}", "-t", "the {}")
    assert [row["image"] for row in document["results"]] == sorted(
        row["image"] for row in document["results"]
    )
    assert len(document["results"]) == 5
    assert sum(score["probability"] for score in document["results"][0]["labels"]) == pytest.approx(
        1, abs=1e-5
    )


def test_classify_offers_none_of_the_above(answer, run, photos):
    words = ("classify", photos / "a.png", "--labels", "cat,dog", "-k", "0")
    for more, expected in (((), {"cat", "dog"}), (("--none",), {"cat", "dog", "none of the above"})):
        [row] = answer(*words, *more)["results"]
        assert {score["label"] for score in row["labels"]} == expected
    text = run("classify", photos / "a.png", "--label-set", "pets", "--none", code=2).output
    assert "--none does not apply to the stored label set pets" in " ".join(text.split())


def test_names_are_never_read_as_markup(run, photos, monkeypatch):
    # The table folds long paths.
    monkeypatch.chdir(photos)
    text = run("classify", "sea/[bold]e.png", "--labels", "[red]cat[/red],dog").output
    assert "[bold]e.png" in text
    assert "[red]cat[/red]" in text


def test_labels_come_from_files_and_sets(answer, photos, tmp_path, server):
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\n\n  wild dog \n")
    document = answer("classify", photos / "a.png", "--labels-file", labels, "-k", "0")
    assert {score["label"] for score in document["results"][0]["labels"]} == {"cat", "wild dog"}
    document = answer("classify", photos / "a.png", "--label-set", "cifar10")
    assert len(document["results"][0]["labels"]) == 5
    assert answer("classify", photos / "a.png", "--label-set", "cifar10", "-t", "{}")["results"]


def test_thresholds_give_verdicts(answer, run, photos):
    words = ("classify", photos / "a.png", "--labels", "a,b", "--mode", "independent", "--threshold", "-1")
    assert all(score["above_threshold"] for score in answer(*words)["results"][0]["labels"])
    assert "✓ " in run(*words).output


def test_scores_are_named_by_their_formula(answer, run, photos, server):
    words = ("classify", photos / "a.png", "--labels", "cat,dog", "-k", "0")
    assert answer(*words)["score"] == "softmax"
    assert "sigmoid" not in run(*words).output
    assert answer(*words, "--mode", "independent")["score"] == "cosine"
    server.state.logit_bias = -3.0
    document = answer(*words)
    assert (document["mode"], document["score"]) == ("independent", "sigmoid")
    for score in document["results"][0]["labels"]:
        logit = LOGIT_SCALE * score["cosine"] - 3.0
        assert score["probability"] == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-4)
    assert "probability (sigmoid)" in run(*words).output
    assert answer(*words, "--mode", "softmax")["score"] == "softmax"


def test_small_sigmoids_are_not_shown_as_zero(run, photos, server):
    server.state.logit_bias = -40.0
    shown = run("classify", photos / "a.png", "--labels", "cat,dog").output
    assert shown.count("%") == 2
    assert "0.0 %" not in shown


@pytest.mark.parametrize(
    "words", [(), ("--labels", "a", "--label-set", "cifar10"), ("--labels-file", "/missing")]
)
def test_labels_must_be_said_once(run, photos, words):
    assert "Error:" in run("classify", photos / "a.png", *words, code=2).output


def test_labels_that_are_given_in_two_ways_are_named(run, photos, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    ways = {"--labels": "a", "--labels-file": tmp_path / "a.txt", "--label-set": "pets"}
    for one, other in itertools.combinations(ways, 2):
        told = run("classify", photos / "a.png", one, ways[one], other, ways[other], code=2).stderr
        assert f"give only one of {one} and {other}" in told
    every = [word for way in ways.items() for word in way]
    told = run("classify", photos / "a.png", *every, code=2).stderr
    assert "give only one of --labels, --labels-file and --label-set" in told
    assert "there are no labels; give --labels" in run("classify", photos / "a.png", code=2).stderr


def test_broken_pictures_are_listed_and_the_exit_code_says_so(run, answer, photos):
    (photos / "broken.png").write_bytes(b"junk")
    result = run("classify", photos, "--labels", "a,b", code=3)
    assert "✗" in result.stderr
    assert "broken.png" in result.stderr
    assert "a.png" in result.stdout
    document = answer("classify", photos, "--labels", "a,b", code=3)
    failed = [row for row in document["results"] if "error" in row]
    assert failed[0]["error"]["reason"] == "IMAGE_UNREADABLE"
