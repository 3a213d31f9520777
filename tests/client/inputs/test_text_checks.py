"""Texts that are a URL, a data URI or a path, and long values in errors."""

from __future__ import annotations

import base64
import warnings
from pathlib import Path

import clipserve
import pytest
from clipserve.inputs.text_checks import TextCheck, text_kind
from clipserve.safe_text import quoted, shortened
from clipserve.wire.images import write_image
from hypothesis import given
from hypothesis import strategies as st

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(200)).decode()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("https://example.org/dove.jpg", "a URL"),
        (" HTTP://example.org/a?b=c\n", "a URL"),
        ("s3://bucket/1.jpg", "a URL"),
        ("file:///data/1.jpg", "a URL"),
        ("data:image/png;base64," + PNG, "a data URI"),
        ("data:,hello", "a data URI"),
        (PNG, "an image in base64"),
        ("/9j/" + "A" * 100, "an image in base64"),
        ("a photo of a dog.", ""),
        ("see https://example.org for more", ""),
        ("data: what the model learns from", ""),
        ("indoor/outdoor", ""),
        ("", ""),
        (".", ""),
        ("...", ""),
        ("a\0b.jpg", ""),
        ("\ud800.jpg", ""),
        ("word " * 100_000 + ".", ""),
    ],
)
def test_what_a_text_looks_like(text: str, kind: str) -> None:
    assert text_kind(text) == kind


def test_a_path_is_one_where_something_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cat.jpg").touch()
    (tmp_path / "dog").touch()
    monkeypatch.chdir(tmp_path)
    for path in ("cat.jpg", "./dog", str(tmp_path / "dog")):
        assert text_kind(path) == "the path of a file"
    assert text_kind("dog") == "", "a word stays a word"
    assert text_kind("bird.jpg") == ""


def test_one_sentence_is_about_all_texts_of_a_call() -> None:
    check = TextCheck()
    for i, text in enumerate(["a dog", "https://a.org/" + "x" * 5_000, "http://b.org"]):
        check.add(f"texts[{i}]", text)
    sentence = check.warning()
    assert "texts[1] looks like a URL" in sentence
    assert "1 more" in sentence
    assert "as an image" in sentence
    assert len(sentence) < 400
    assert TextCheck().warning() == ""


def test_of_many_texts_only_the_first_are_looked_for_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr("clipserve.inputs.text_checks.is_path", lambda text: bool(looked.append(text)))
    check = TextCheck()
    for i in range(3_000):
        check.add(f"texts[{i}]", "a.jpg")
    assert len(looked) == 1_000
    check.add("texts[3000]", "https://a.org")
    assert check.count == 1


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("https://example.org/dove.jpg", "URLs are not fetched: download"),
        ("data:image/png;base64," + PNG * 4_000, "b64decode"),
        (PNG * 4_000, "b64decode"),
        ("x" * 1_000_000, "cannot read"),
        ("missing.jpg", "No such file"),
    ],
)
def test_a_picture_that_is_no_path_says_so_in_few_words(image: str, words: str) -> None:
    with pytest.raises(clipserve.ImageUnreadable) as caught:
        write_image(image)
    assert words in str(caught.value)
    assert image[:20] in str(caught.value)
    assert len(str(caught.value)) < 500


@given(st.text(max_size=400), st.integers(1, 20))
def test_quoted_and_shortened_texts_are_short(text: str, times: int) -> None:
    assert len(quoted(text * times)) < 1_000
    assert len(shortened(text * times)) < 2_500
    if len(repr(text)) <= 80:
        assert quoted(text) == repr(text)
    if len(text) < 200:
        assert shortened(text) == text


def test_errors_of_the_client_are_short() -> None:
    error = clipserve.InvalidInput(f"the text {'a' * 1_000_000!r} is wrong; write another")
    assert len(str(error)) < 200
    assert str(error).endswith("is wrong; write another")
    words = clipserve.InvalidInput("word " * 100_000 + "; do this")
    assert len(str(words)) < 2_500
    assert str(words).endswith("; do this")


def test_warnings_name_the_line_of_the_caller() -> None:
    from clipserve.jobs.warn import warn

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("look", clipserve.InputWarning)
    assert caught[0].filename == __file__


DATA = "data:image/png;base64," + PNG * 30


@pytest.mark.parametrize("text", ["https://example.org/dove.jpg", DATA, PNG, "photos/a.png"])
def test_commands_tell_that_a_text_is_no_picture(run, answer, photos, monkeypatch, tmp_path, text):
    monkeypatch.chdir(tmp_path)
    run("index", photos, "-c", "holiday")
    (tmp_path / "texts.txt").write_text(f"a dog\n\n{text}\n")
    for words in (
        ("search", text, "-c", "holiday"),
        ("search", "a dog", "--minus", text, "-c", "holiday"),
        ("embed", "--text", text, "-o", tmp_path / "a.npy"),
        ("embed", "--texts-file", tmp_path / "texts.txt", "-o", tmp_path / "a.npy"),
        ("classify", photos / "a.png", "-l", "a dog", "-l", f'"{text}"'),
    ):
        told = [line for line in run(*words).stderr.splitlines() if line.startswith("Warning: ")]
        [line] = told
        assert "It is used as words; nothing is opened or downloaded" in line
        assert len(line) < 400
    file = ("embed", "--text", "a", "--texts-file", tmp_path / "texts.txt", "-o", tmp_path / "a.npy")
    assert f"{tmp_path}/texts.txt, line 3 looks like" in run(*file).stderr
    answer("search", text, "-c", "holiday")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("https://example.org/dove.jpg", "is a URL, not a path; URLs are not fetched: download it first"),
        (DATA, "is a data URI, not a path; write it to a file"),
        ("x" * 100_000, "does not exist"),
        ("word " * 20_000, "does not exist"),
    ],
)
def test_commands_name_what_is_no_picture_in_few_words(run, photos, image, words):
    for command in (
        ("embed", image, "--json"),
        ("classify", image, "-l", "cat"),
        ("search", "--image", image, "-c", "holiday"),
        ("index", image, "-c", "holiday"),
        ("evaluate", "folder", "--data", image),
        ("classify", photos, "--labels-file", image),
        ("--ca", image, "info"),
    ):
        told = run(*command, code=2).stderr
        assert words in told
        assert len(told) < 2_500


def test_long_values_are_short_in_every_error_of_the_command_line(run, photos):
    long = "y" * 100_000
    for command in (
        ("search", "a", "-c", long),
        ("search", "a", "-c", "holiday", "--filter", long),
        ("search", "a", "-c", "holiday", "-w", long),
        ("search", "a", "-c", "holiday", "--top", long),
        ("labels", "get", long),
        ("labels", "get", long + "@x"),
        ("classify", photos, "--label-set", long + "@x"),
        ("classify", photos, "--labels", '"' + long),
        ("classify", photos, "--labels", "a", "--mode", long),
        ("collections", "show", long),
        ("embed", "--text", "a", "-o", long),
        ("--target", long + " ", "info"),
        ("info", "--target", "a:" + long),
        ("info", "--" + long),
        (long,),
    ):
        result = run(*command, code=None)
        assert result.exit_code not in (0, None)
        assert len(result.output) < 2_500, command[:2]


LONG = "y" * 100_000


@pytest.mark.parametrize(
    "wrong",
    [
        lambda client: clipserve.parse_filter(LONG),
        lambda client: clipserve.parse_filter('a == "' + LONG),
        lambda client: clipserve.label_set(LONG),
        lambda client: client.classify([], label_set=LONG + "@x"),
        lambda client: client.classify([], ["a"], mode=LONG),
        lambda client: client.embed_texts([], on_error=LONG),
        lambda client: client.search("a", text="b", consistency=LONG),
        lambda client: client.search("a", image=LONG),
        lambda client: client.create_collection("abc", metric=LONG),
        lambda client: client.create_collection("abc", schema={LONG: LONG}),
        lambda client: client.get_collection(LONG),
        lambda client: client.get_label_set(LONG),
        lambda client: clipserve.Client("a:" + LONG),
        lambda client: clipserve.Client("http://" + LONG),
        lambda client: clipserve.Client("a", priority=LONG),
    ],
)
def test_long_values_are_short_in_every_error_of_the_sdk(client, wrong):
    with pytest.raises((ValueError, TypeError, clipserve.ClipserveError)) as caught:
        wrong(client)
    assert len(str(caught.value)) < 1_000
