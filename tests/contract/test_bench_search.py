"""The search bench measures what it says, on a few points."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bench.search", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("bench") / "search.json"
    run("--engine", "lance", "--sizes", "300", "--dim", "32", "--queries", "5", "--out", file)
    return file


def test_a_few_points_are_found_exactly_and_every_figure_is_there(figures):
    [row] = json.loads(figures.read_text())
    assert (row["engine"], row["points"], row["dim"]) == ("lance", 300, 32)
    for kind in ("picture", "text", "filter 10 %", "filter 1 %"):
        assert row[f"{kind}_recall"] == 1
        assert 0 < row[f"{kind}_p50"] <= row[f"{kind}_p95"]
    for name in ("ingest_per_s", "qps", "upsert_one", "fetch_ten", "scroll_page", "count", "ram", "disk"):
        assert row[name] > 0


def test_figures_are_shown_and_drawn(figures, tmp_path):
    assert "| LanceDB | 300 |" in run("show", figures)
    run("plot", figures, "--out", tmp_path / "search.svg")
    assert (tmp_path / "search.svg").read_text().count("LanceDB") >= 1


def test_what_is_measured_already_is_not_measured_again(figures):
    before = figures.read_text()
    run("--engine", "lance", "--sizes", "300", "--dim", "32", "--queries", "5", "--out", figures)
    assert figures.read_text() == before
