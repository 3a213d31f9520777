"""Arguments, label files and texts that cannot be sent: invalid UTF-8, lone surrogates, huge numbers."""

from __future__ import annotations

import json

import click
import pytest
from clipserve.inputs.text_encoding import NotText, not_utf8, utf8
from clipserve.labels import LabelSet, NoneOfTheAbove
from clipserve.tools.cli import label_files

CAFE = "caf\udce9"
"""How Python decodes an argument in Latin-1."""
COMMANDS = [
    (("classify", "PHOTO", "--labels", f"cat,{CAFE}"), "--labels, label 2: "),
    (("classify", "PHOTO", "--labels", "cat", "-t", f"{CAFE} {{}}"), "--template, template 1: "),
    (("classify", "PHOTO", "--label-set", CAFE), ""),
    (("classify", "PHOTO", "--labels", "cat", "--model", CAFE), ""),
    (("search", CAFE, "-c", "holiday"), ""),
    (("search", "cat", "--plus", CAFE, "-c", "holiday"), ""),
    (("search", "--like", CAFE, "-c", "holiday"), ""),
    (("search", "cat", "-c", CAFE), ""),
    (("search", "cat", "-c", CAFE, "--filter", "a > 1"), ""),
    (("index", "PHOTOS", "-c", CAFE), ""),
    (("labels", "put", CAFE, "FILE"), "name: "),
    (("labels", "put", "kept", "FILE", "-t", f"{CAFE} {{}}"), "--template, template 1: "),
    (("labels", "get", CAFE), ""),
    (("labels", "rm", CAFE, "--yes"), ""),
    (("collections", "show", CAFE), "name: "),
    (("collections", "rm", CAFE, "--yes"), "name: "),
    (("collections", "purge", CAFE), ""),
    (("collections", "alias", CAFE, "holiday"), ""),
    (("export", "OUT", "-c", CAFE), ""),
    (("dedupe", "-c", CAFE), ""),
]


@pytest.mark.parametrize(("words", "place"), COMMANDS, ids=[" ".join(words[:3]) for words, _ in COMMANDS])
def test_an_argument_that_is_no_utf8_is_one_error(run, photos, tmp_path, words, place):
    file = tmp_path / "labels.txt"
    file.write_text("cat\ndog\n")
    places = {"PHOTO": photos / "a.png", "PHOTOS": photos, "FILE": file, "OUT": tmp_path / "out.parquet"}
    told = run(*(places.get(word, word) for word in words), code=2).stderr
    assert "caf\\udce9" in told.replace("\\\\", "\\")
    assert "is not valid UTF-8 (byte 0xE9); write it in UTF-8" in told
    assert place in told


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (["cat", "d\ud800g"], ", entry 2: "),
        ({"names": ["cat", "d\ud800g"]}, ", name 2: "),
        ({"names": ["cat"], "templates": ["{} \udfff"]}, ", template 1: "),
        ({"names": ["cat"], "none_of_the_above": {"name": "\ud800"}}, "none_of_the_above.name: "),
        ({"names": ["cat"], "none_of_the_above": {"prompts": ["a", "\ud800"]}}, "prompts[1]: "),
    ],
)
def test_a_label_file_with_half_a_pair_names_the_place(run, photos, tmp_path, document, place):
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(document))
    for words in (("labels", "put", "kept", file), ("classify", photos / "a.png", "--labels-file", file)):
        told = run(*words, code=2).stderr
        assert place in told
        assert "is not valid UTF-8" in told


@pytest.mark.parametrize("digits", [400, 5_000])
def test_thresholds_of_very_many_digits_are_refused(digits):
    number = "1" * digits
    for text in (
        f'{{"names": ["a"], "thresholds": [{number}]}}',
        f'{{"names": ["a"], "none_of_the_above": {{"threshold": -{number}}}}}',
    ):
        with pytest.raises(click.UsageError, match=r"a\.json: .*(too large|too many digits)"):
            label_files.read(text, "a.json")


def test_the_sdk_names_the_text_that_it_cannot_send(client, photos):
    for labels, place in (
        (["cat", CAFE], r"labels\[1\]: "),
        (LabelSet(("cat",), (CAFE + " {}",)), r"labels\.templates\[0\]: "),
        (LabelSet(("cat",), none_of_the_above=NoneOfTheAbove(CAFE)), "none_of_the_above.name: "),
    ):
        for call in (
            lambda labels=labels: client.prepare_labels(labels),
            lambda labels=labels: client.put_label_set("kept", labels),
            lambda labels=labels: client.classify([photos / "a.png"], labels),
        ):
            with pytest.raises(NotText, match=place):
                call()
    for call in (
        lambda: client.prepare_labels(label_set=CAFE),
        lambda: client.prepare_labels(["cat"], model=CAFE),
        lambda: client.put_label_set(CAFE, ["cat"]),
        lambda: client.search("holiday", text=CAFE),
        lambda: client.get_collection(CAFE),
    ):
        with pytest.raises(NotText, match="byte 0xE9"):
            call()


def test_the_sdk_refuses_thresholds_that_are_no_float(client):
    for thresholds in (10**400, [0.5, -(10**400)]):
        with pytest.raises(ValueError, match=r"thresholds\[\d\]: a threshold is a cosine"):
            client.put_label_set("kept", ["cat", "dog"], thresholds=thresholds)
    for labels in (
        LabelSet(("cat",), thresholds=(10**400,)),
        LabelSet(("cat",), none_of_the_above=NoneOfTheAbove(threshold=10**400)),
    ):
        with pytest.raises(ValueError, match="a threshold is a cosine"):
            client.prepare_labels(labels)


def test_what_utf8_cannot_hold_is_told():
    assert utf8("café") == "café"
    for text, cause in (("a\udcff", "byte 0xFF"), ("\ud83d", r"'\ud83d' alone")):
        with pytest.raises(UnicodeEncodeError) as caught:
            text.encode()
        assert f"({cause})" in str(not_utf8(caught.value))
