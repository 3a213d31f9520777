from __future__ import annotations

import base64

import pytest
from clipserve_gateway import errors
from clipserve_gateway.http_adapter.openai.pictures import (
    bytes_of_base64,
    bytes_of_uri,
    check_words,
    is_data_uri,
    is_path,
)
from clipserve_gateway.settings import Settings

LIMITS = Settings(max_text_bytes=4096).limits

LONG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(90)).decode()


@pytest.mark.parametrize(
    "header",
    ["data:image/png;base64", "DATA:Image/JPEG;Base64", "  data:image/x-icon;charset=utf-8;base64"],
)
def test_a_data_uri_of_a_picture_has_its_bytes(header):
    assert is_data_uri(f"{header},aGVsbG8=")
    assert bytes_of_uri(f"{header},aGVsbG8=", "input") == b"hello"


@pytest.mark.parametrize(
    ("uri", "kind", "words"),
    [
        ("data:text/plain;base64,aGVsbG8=", errors.ImageFormatUnsupported, "text/plain"),
        ("data:application/pdf;base64,aGVsbG8=", errors.ImageFormatUnsupported, "application/pdf"),
        ("data:,hello", errors.ImageFormatUnsupported, '{"text": …}'),
        ("data:image/png,hello", errors.ImageUnreadable, "not in base64"),
        ("data:image/png;base64", errors.ImageUnreadable, "comma"),
        ("data:image/png;" + "x=1;" * 100 + "base64,aGVsbG8=", errors.ImageUnreadable, "comma"),
        ("data:image/png;base64,", errors.ImageUnreadable, "empty"),
        ("https://example.com/a.jpg", errors.InvalidInput, "fetches nothing"),
        ("file:///etc/passwd", errors.InvalidInput, "fetches nothing"),
        ("a picture", errors.InvalidInput, "not a data URI"),
        ("demo/a.jpg", errors.InvalidInput, "path of a file: this server reads no files"),
    ],
)
def test_other_uris_are_refused_with_the_reason(uri, kind, words):
    with pytest.raises(kind) as raised:
        bytes_of_uri(uri, "input[2]")
    assert words in raised.value.message
    assert raised.value.field == "input[2]"


@pytest.mark.parametrize(
    "data", ["%%%", "a", "aGVs\nbG8=", "aGVs bG8=", "é" * 4, "aGVsbG8=junk", "aGVsbG8==="]
)
def test_rubbish_is_not_base64(data):
    with pytest.raises(errors.ImageUnreadable, match="not base64"):
        bytes_of_base64(data, "input")


@pytest.mark.parametrize("path", ["demo/photos/cat.jpg", "/home/me/my-cat.txt", r"C:\photos\cat.png"])
def test_a_path_is_not_base64_and_no_file_is_read(path):
    with pytest.raises(errors.ImageUnreadable, match=r"path of a file, not base64: .* reads no files"):
        bytes_of_base64(path, "input[0].image")


@pytest.mark.parametrize("text", ["cat.JPG", " my cat.png\n", "./cat", "~/cat", "/data/cat", "..//x", "D:/x"])
def test_what_looks_like_a_path(text):
    assert is_path(text)


@pytest.mark.parametrize("text", ["", "a dog.", "indoor/outdoor", "/imagine a dog", "/s", "and/or", "3.5"])
def test_words_do_not_look_like_a_path(text):
    assert not is_path(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://example.com/a.jpg", "fetches nothing"),
        (" s3://bucket/key\n", "fetches nothing"),
        (LONG, "looks like a picture in base64"),
        (f"what is this? data:image/png;base64,{LONG}", "words and a picture"),
    ],
)
def test_strings_that_are_meant_as_pictures_are_refused_with_the_way_out(text, words):
    with pytest.raises(errors.InvalidInput) as raised:
        check_words(text, LIMITS, "input[1]")
    assert words in raised.value.message
    assert '{"text": …}' in raised.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a dog",
        "https is a protocol",
        "see https://example.com/a.jpg",
        "data: the new oil",
        "inline pictures begin with data:image/png;base64,iVBOR…",
        "/9j/ is how they begin",
    ],
)
def test_words_pass(text):
    check_words(text, LIMITS, "input")
    assert not is_data_uri(text)


def test_a_string_that_is_too_long_as_a_text_is_refused_before_it_is_searched(monkeypatch):
    monkeypatch.setattr("clipserve_gateway.http_adapter.openai.pictures.PICTURE_INSIDE", None)
    with pytest.raises(errors.LimitExceeded, match="more than 4096 bytes") as raised:
        check_words("data:image/png;base64," * 200, LIMITS, "input[1]")
    assert raised.value.field == "input[1]"
