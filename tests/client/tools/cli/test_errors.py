"""Errors of the server as the command shows them."""

from __future__ import annotations

import json

import pytest
from client.fake_server import Refused


@pytest.mark.parametrize(
    ("refused", "code", "hint"),
    [
        (Refused("UNAVAILABLE", "MODEL_UNAVAILABLE", "not loaded"), 4, "`clipserve info` shows"),
        (Refused("UNAUTHENTICATED", "", "who are you", details=False), 1, "--token"),
        (Refused("PERMISSION_DENIED", "", "no", details=False), 1, "token that is allowed"),
        (Refused("RESOURCE_EXHAUSTED", "OVERLOADED", "busy", retry_after=99), 4, "try again later"),
        (Refused("RESOURCE_EXHAUSTED", "", "too large", details=False), 1, "too large"),
        (Refused("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "late"), 4, "--timeout"),
        (Refused("INTERNAL", "INFERENCE_FAILED", "oh"), 1, "server's log"),
        (Refused("UNIMPLEMENTED", "", "?", details=False), 1, "check that the target is a clipserve gateway"),
    ],
)
def test_errors_are_one_sentence_with_what_to_do(run, server, refused, code, hint):
    server.script("ListCollections", *[refused] * 9)
    text = run("collections", code=code).output
    assert text.startswith("Error: ")
    assert hint in text
    assert len(text.splitlines()) == 1


def test_errors_are_json_where_that_is_wanted(run, server):
    result = run("search", "x", "-c", "missing", "--json", code=1)
    assert result.stdout == ""
    document = json.loads(result.stderr)["error"]
    assert document["reason"] == "COLLECTION_NOT_FOUND"
    assert document["request_id"] == "fake-request"


def test_a_server_that_is_not_there_is_named(run):
    text = run("info", "--target", "127.0.0.1:9", code=4).output
    assert "no server answers at 127.0.0.1:9: connection refused: no server listens there" in text
    assert "?;" not in text
    assert "clipserve-gateway up" in text
    assert "write HOST:PORT" in run("info", "-s", "http://x", code=2).output
