"""The demo model's golden file, and what the real service and its gateway make of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from testing.service import BIN, ROOT

GOLDEN = ROOT / "build" / "model_repository" / "demo.golden.npz"


@pytest.fixture(scope="module")
def golden() -> Path:
    assert GOLDEN.is_file(), "export the demo model again: make build/model_repository/.ready"
    return GOLDEN


def test_the_service_gives_what_open_clip_gave_at_the_export(cli, golden):
    document = cli("verify", "--golden", str(golden))
    [model] = document["models"]
    assert model["model"] == "demo"
    assert {check["status"] for check in model["checks"]} == {"passed"}
    recorded = {check["name"]: check["figures"] for check in model["checks"] if "recorded" in check["name"]}
    assert set(recorded) == {"images as recorded", "texts as recorded"}
    assert all(figures["min_cosine"] > 0.99999 for figures in recorded.values())


def test_the_gateway_makes_the_pixels_and_ids_that_open_clip_made(live, golden):
    command = [BIN / "clipserve-gateway", "verify", "--golden", golden, "--triton", live.triton, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert {check["status"] for check in checks} == {"passed"}
    assert {"fingerprint", "preprocessing", "tokenizer", "pixels of cmyk.jpg", "ids of text 17"} <= {
        check["name"] for check in checks
    }
