from __future__ import annotations

import pytest
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.settings import Settings
from clipserve_gateway.types import AS_OPEN_CLIP, ImageRules
from pydantic import ValidationError


def headers(tmp_path, text: str) -> dict[str, str]:
    file = tmp_path / "headers"
    file.write_text(text)
    return Settings(triton_headers_file=str(file)).triton_headers


def test_headers_for_triton_are_read_from_a_file(tmp_path):
    text = "triton-grpc-protocol-admin-key: s3cret\n\n  x-other:a value \n"
    assert headers(tmp_path, text) == {"triton-grpc-protocol-admin-key": "s3cret", "x-other": "a value"}
    assert Settings().triton_headers == {}


@pytest.mark.parametrize(
    "line", ["s3cret", "Key: s3cret", "key: s3crét", "key:", ": s3cret", "a key: s3cret"]
)
def test_a_line_that_is_no_header_is_told_without_its_words(tmp_path, line):
    with pytest.raises(ValidationError) as raised:
        headers(tmp_path, f"good: one\n{line}\n")
    (error,) = raised.value.errors()
    assert error["loc"] == ("triton_headers_file",)
    assert "line 2 is not a header" in error["msg"]
    assert "s3cr" not in error["msg"]


def test_milvus_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"pip install .*pymilvus"):
        Settings(data="milvus://127.0.0.1:19530")
    assert Settings(data="./data").data == "./data"


@pytest.mark.parametrize("path", ["missing", "/tmp"])
def test_a_file_that_cannot_be_read_is_named(path):
    with pytest.raises(ValidationError, match=f"{path} is not a file that can be read"):
        Settings(triton_headers_file=path)


def test_images_are_upright_and_transparent_ones_on_white_by_default():
    assert Settings().image_rules == ImageRules(orientation=True, background=(255, 255, 255))
    assert Settings(apply_orientation=False, alpha_background="none").image_rules == AS_OPEN_CLIP
    assert Settings(alpha_background="#0a3CC8").image_rules.background == (10, 60, 200)


@pytest.mark.parametrize("color", ["", "white", "#fff", "ffffff", "#fffffg", "#ffffff "])
def test_another_word_than_a_color_is_refused_with_an_example(color):
    with pytest.raises(ValidationError, match="write none, or #RRGGBB"):
        Settings(alpha_background=color)


@pytest.mark.parametrize(
    ("prefixes", "reason"),
    [
        ("/data/photos", r"'/data/photos': give a URI such as file:///"),
        ("s3://bucket/a, photos", "'photos': give a URI such as"),
        ("s3://user@bucket/a", "must not have a query, a fragment, a user or a port"),
        ("file:///data/../etc", "must not have `..`"),
        ("file:///%ff", "is not valid"),
    ],
)
def test_a_source_prefix_that_is_no_uri_of_a_folder_is_named(prefixes, reason):
    with pytest.raises(ValidationError, match=rf"(?s)source_prefixes.*{reason}"):
        Settings(source_prefixes=prefixes)


@pytest.mark.parametrize("settings", [Settings, GuardSettings])
def test_another_word_than_a_log_level_is_refused_with_the_levels(settings):
    assert settings(log_level="debug").log_level == "DEBUG"
    with pytest.raises(ValidationError, match="'loud' is not a log level: write DEBUG, INFO"):
        settings(log_level="loud")
