"""The Connect protocol as a client that others wrote speaks it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import clipserve
import google.protobuf
import numpy as np
import pytest
from google.rpc import error_details_pb2

from testing.service import ROOT, Service

PYTHON = ROOT / ".venv-clients" / "bin" / "python"
PICTURE = ROOT / "demo" / "photos" / "cat.jpg"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="run `make .venv-clients/.ready` for the tests with packages of others"
    ),
]


@pytest.fixture(scope="module")
def answers(live: Service) -> dict[str, Any]:
    """What the package connectrpc got, in every codec and compression."""
    libraries = Path(google.protobuf.__file__).parents[2]
    program = ROOT / "tests" / "e2e" / "connectrpc_client.py"
    words = [PYTHON, program, live.api, PICTURE, ROOT / "client" / "clipserve", libraries]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("way", ["proto gzip", "proto plain", "json gzip", "json plain"])
def test_it_gets_the_embeddings_that_the_sdk_gets(answers, client: clipserve.Client, way: str) -> None:
    image, text = (np.frombuffer(bytes.fromhex(row), "<f4") for row in answers[way]["embeddings"])
    np.testing.assert_allclose(image, client.embed_images([PICTURE]).embeddings[0], atol=1e-3)
    np.testing.assert_allclose(text, client.embed_texts(["a cat"]).embeddings[0], atol=1e-3)
    assert answers[way]["request_id"] == "r-1"


@pytest.mark.parametrize("codec", ["proto", "json"])
def test_it_gets_large_answers(answers, codec: str) -> None:
    assert len(answers[f"{codec} many"]["embeddings"]) == 201


@pytest.mark.parametrize("codec", ["proto", "json"])
def test_it_gets_errors_with_their_details(answers, codec: str) -> None:
    error = answers[f"{codec} error"]
    assert error["code"] == "not_found"
    details = {name: bytes.fromhex(data) for name, data in error["details"]}
    info = error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    assert (info.reason, info.domain) == ("MODEL_NOT_FOUND", "clipserve")
    bad = error_details_pb2.BadRequest.FromString(details["google.rpc.BadRequest"])
    assert [violation.field for violation in bad.field_violations] == ["model"]


@pytest.mark.parametrize("codec", ["proto", "json"])
def test_its_deadline_ends_the_call(answers, codec: str) -> None:
    assert answers[f"{codec} late"]["code"] == "deadline_exceeded"
