"""Runs export processes and reads what they say."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from zoo import ROOT
from zoo.export_row import Task

PYTHON = ROOT / ".venv-models" / "bin" / "python"
PATHS = (ROOT, ROOT / "exporter", ROOT / "gateway", ROOT / "client")


def export(task: Task, seconds: float, on_step: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Exports rows, one after another, in a process that has `seconds` for each; row → its last line.

    A line has `facts`, or an `error` that says why the row was not exported. A row that ends the process does
    not stop the others: they go on in another process.
    """
    Path(task.folder).mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    while left := [name for name in task.rows if name not in results]:
        process = launch(replace(task, rows=left))
        results |= read(process, seconds, on_step)
        if missing := [name for name in left if name not in results]:
            results[missing[0]] = {"error": why(process, task, seconds)}
    return results


def launch(task: Task) -> subprocess.Popen[str]:
    """Starts an export process; its log is in the task's folder."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, PATHS))}
    with (Path(task.folder) / "export.log").open("ab") as log:
        return subprocess.Popen(
            [PYTHON, "-W", "ignore", "-m", "zoo.export_row", json.dumps(asdict(task))],
            cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip


def read(
    process: subprocess.Popen[str], seconds: float, on_step: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """What a process says of its rows until it ends; it is killed if a row takes longer than `seconds`."""
    results: dict[str, dict[str, Any]] = {}
    assert process.stdout is not None
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            if "step" in said:
                on_step(said["step"])
                continue
            results[said.pop("row")] = said
            timer.cancel()
            timer = threading.Timer(seconds, process.kill)
            timer.start()
    finally:
        timer.cancel()
        process.kill()
        process.wait()
    return results


def why(process: subprocess.Popen[str], task: Task, seconds: float) -> str:
    """Why a process ended without a word about a row."""
    gib = task.memory_bytes / 2**30
    return (
        f"export: the process ended with code {process.returncode}; "
        f"its limits are {seconds:g} s and {gib:.1f} GiB"
    )


def error_of(results: dict[str, dict[str, Any]], names: Sequence[str]) -> str:
    """The first error of some rows; empty if there is none."""
    return next((results[name]["error"] for name in names if "error" in results[name]), "")
