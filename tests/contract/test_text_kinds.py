"""SDK and gateway may not import each other; both look for the same kinds of strings that are not words."""

from __future__ import annotations

from clipserve.inputs import text_checks as sdk
from clipserve_gateway.http_adapter.openai import pictures as gateway


def test_sdk_and_gateway_detect_the_same_kinds_of_strings():
    for name in ("URL", "DATA_URI", "BASE64"):
        assert getattr(sdk, name) == getattr(gateway, name), name
