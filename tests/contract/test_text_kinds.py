"""SDK and gateway may not import each other; both look for the same kinds of strings that are not words."""

from __future__ import annotations

import pytest
from clipserve.inputs import text_checks as sdk
from clipserve_gateway.http_adapter.openai import pictures as gateway


def test_sdk_and_gateway_detect_the_same_kinds_of_strings():
    for name in ("URL", "DATA_URI", "BASE64"):
        assert getattr(sdk, name) == getattr(gateway, name), name


@pytest.mark.parametrize("path", ["cat.jpg", "./cat", "photos/cat one.png"])
def test_what_the_sdk_finds_as_a_file_looks_like_a_path_to_the_gateway(path, tmp_path, monkeypatch):
    """The SDK looks for the file; the gateway has the string alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).touch()
    for name in (path, str(tmp_path / path)):
        assert sdk.text_kind(name) == "the path of a file"
        assert gateway.is_path(name)
