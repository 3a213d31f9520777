"""The zoo: a row that fails does not stop the others, and is told; results of several runs are joined."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from zoo import comparing, exporting, results, run
from zoo.export_row import Task

EXPORTER = f"""#!{sys.executable}
import json, sys, time
for name in json.loads(sys.argv[-1])["rows"]:
    print(json.dumps({{"step": name + ": build"}}), flush=True)
    if name == "crash":
        sys.exit(3)
    if name == "hang":
        time.sleep(60)
    print("a warning of a library", flush=True)
    done = {{"error": "export: ExportError: no"}} if name == "refused" else {{"facts": {{}}}}
    print(json.dumps({{"row": name, **done}}), flush=True)
"""
GOOD = {
    "pixels": [10, 10],
    "ids": [52, 52],
    "image_likeness": 0.5,
    "text_likeness": 0.5,
    "precisions": {
        "fp32": {"image_cosine": 1.0, "text_cosine": 0.999995},
        "bf16": {"image_cosine": 0.9995, "text_cosine": 0.9999},
    },
}


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs rows with a fake export process."""
    program = tmp_path / "python"
    program.write_text(EXPORTER)
    program.chmod(0o755)
    monkeypatch.setattr(exporting, "PYTHON", program)

    def export(*rows: str, seconds: float = 20.0) -> dict[str, dict]:
        task = Task(list(rows), str(tmp_path / "folder"), str(tmp_path / "models"), ["fp32"], 2**30)
        return exporting.export(task, seconds, on_step=lambda step: None)

    return export


def test_a_row_that_ends_the_process_does_not_stop_the_others(export):
    results = export("first", "crash", "last")
    assert results["crash"]["error"].startswith("export: the process ended with code 3; its limits are")
    assert "facts" in results["first"]
    assert "facts" in results["last"]


def test_a_row_that_takes_too_long_does_not_stop_the_others(export):
    results = export("hang", "last", seconds=1.5)
    assert "the process ended with code -9" in results["hang"]["error"]
    assert "facts" in results["last"]


def test_the_exporter_says_why_it_refuses_a_row(export):
    results = export("refused", "last")
    assert exporting.error_of(results, ["last", "refused"]) == "export: ExportError: no"
    assert exporting.error_of(results, ["last"]) == ""


def test_a_row_that_is_equal_has_no_faults():
    assert run.faults(GOOD) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pixels": [9, 10]}, "pixels: 1 of 10 differ"),
        ({"ids": [50, 52]}, "ids: 2 of 52 differ"),
        ({"image_likeness": 1.0}, "too alike"),
        ({"text_likeness": float("nan")}, "too alike"),
        ({"precisions": {"fp32": {"image_cosine": 0.9999, "text_cosine": 1.0}}}, "fp32: image_cosine"),
        ({"precisions": {"bf16": {"image_cosine": 1.0, "text_cosine": float("nan")}}}, "bf16: text_cosine"),
    ],
)
def test_a_row_that_differs_has_a_fault(change, said):
    (fault,) = run.faults(GOOD | change)
    assert said in fault


def test_a_row_that_was_not_exported_has_not_passed():
    result = run.whole("vit-b-32", {"error": "export: no"}, {})
    assert (result["passed"], result["problems"]) == (False, ["export: no"])
    assert results.line("vit-b-32", result) == "✗ vit-b-32: export: no"


def test_results_of_several_runs_are_joined(tmp_path):
    path = tmp_path / "results.json"
    results.update(path, {"b": {"passed": True}, "gone": {"passed": True}}, ["a", "b", "gone"])
    results.update(path, {"a": {"passed": True}, "b": {"passed": False}}, ["a", "b"])
    assert results.read(path) == {"a": {"passed": True}, "b": {"passed": False}}


def test_one_wrong_row_decides_the_cosine():
    rows = np.eye(3, dtype=np.float32)
    assert comparing.min_cosine(rows, rows) == 1.0
    assert comparing.min_cosine(rows[[0, 2, 1]], rows) == 0.0
    assert comparing.likeness(rows) == 0.0
    assert comparing.likeness(rows[[0, 0, 0]]) == 1.0
