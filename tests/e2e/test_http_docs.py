"""The shell blocks of README and docs/http.md that call the API by curl work as they are shown."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from testing.service import ROOT, Service

BLOCK = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
CALL = "/clipserve.v1"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")


def blocks(path: Path) -> list[str]:
    """The shell blocks that call the API."""
    return [block for block in BLOCK.findall(path.read_text()) if CALL in block]


def answers(block: str, live: Service) -> list[dict[str, Any]]:
    """What the calls of a block print."""
    script = block.replace("http://localhost:8602", live.api)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        answer, end = decoder.raw_decode(text)
        assert "details" not in answer, answer
        found.append(answer)
        text = text[end:].lstrip()
    return found


def test_the_readmes_call_returns_an_embedding(live: Service):
    [block] = blocks(ROOT / "README.md")
    [answer] = answers(block, live)
    assert {result["status"]["code"] for result in answer["results"]} == {0}
    assert all(result["embedding"] for result in answer["results"])


@pytest.mark.slow
def test_the_calls_of_the_document_work_in_order(live: Service):
    embed, classify, collection, info = [answers(block, live) for block in blocks(ROOT / "docs" / "http.md")]
    assert len(embed[0]["results"]) == 2
    assert classify[0]["results"][0]["scores"][0]["label"] == "cat"
    assert [hit["id"] for hit in collection[2]["hits"]] == ["cat"]
    assert info[0]["limits"]["maxJsonBytes"] == str(16 << 20)
