"""What the README shows works as it is shown, line after line, as a person reads it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from testing.service import BIN, ROOT

README = (ROOT / "README.md").read_text()
NOT_TRIED = {
    "git": "the clone is this folder",
    "source": "commands are called by their paths",
    "python3": "needs a network; `make fresh` tries it",
    "make": "`live` is the service of `make serve`; other tests try the rest",
    ".venv-models/bin/clipserve-export": "needs weights; the exporter's tests have some",
    ".venv/bin/clipserve-gateway": "needs weights; test_model_export.py tries it with another exporter",
}
"""Why commands of the shell blocks are not run here, by their first word."""


@pytest.fixture
def folder(tmp_path):
    """A place to write to, with the pictures that the README speaks of, and a small CIFAR-10."""
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    (tmp_path / "cifar").mkdir()
    np.savez(tmp_path / "cifar" / "cifar10.npz", x_test=images, y_test=np.arange(20) % 10)
    return tmp_path


def steps() -> Iterator[tuple[str, str]]:
    """Lines of shell and blocks of Python, in reading order."""
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", README, re.DOTALL):
        if "curl" in block:
            continue  # tests/e2e/test_http_docs.py tries it
        for step in block.splitlines() if language == "bash" else [block]:
            if step.strip() and not step.startswith("#"):
                yield language, step


def attempt(words: list[str], folder: Path, address: str) -> str:
    """What the command prints; it must succeed."""
    done = subprocess.run(
        words,
        cwd=folder,
        env=os.environ | {"CLIPSERVE_TARGET": address},
        input="y\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(map(str, words))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_every_line_works_in_reading_order(live, folder):
    tried = []
    for language, step in steps():
        if "from openai import" in step:
            continue  # tests/e2e/test_openai.py tries it
        if language == "python":
            code = step.replace("localhost:8600", live.address)
            assert attempt([sys.executable, "-c", code], folder, live.address).startswith("cat ")
            tried.append("python")
            continue
        # The twin of the demo model stands for the model that a reader has exported by then.
        places = {"PATH": str(folder / "cifar"), "vit-b-32": "twin"}
        words = [places.get(word, word) for word in shlex.split(step, comments=True)]
        if words[0] != "clipserve":
            assert words[0] in NOT_TRIED, f"nobody tries {step!r}"
            continue
        told = attempt([BIN / words[0], *words[1:]], folder, live.address)
        tried.append(words[1])
        if words[1:3] == ["search", "--image"]:
            first = next(line for line in told.splitlines() if ".jpg" in line)
            assert re.search(r"\b(cat|kitten)-", first), told
    assert len(tried) >= 15
    assert {"python", "migrate", "evaluate", "dedupe", "labels", "export"} <= set(tried)
    for made in ("hits.html", "duplicates.html", "pictures.parquet", "cat.npy", "confusion.html"):
        assert (folder / made).stat().st_size > 1_000, made


def test_a_healthy_start_warns_of_nothing(live):
    begun = live.words.partition("ready after")[0]
    assert "✓ gateway on" in begun
    assert not re.search("WARNING|ERROR", begun), begun
