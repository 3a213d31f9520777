"""The interpreter that makes an environment is the best that is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bootstrap import choice, libpython, pythons, uv
from bootstrap.pythons import MODELS, candidates, probe
from testing.machines import python


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def shim(path: Path, version: tuple[int, int, int], **changes: object) -> Path:
    """A program that answers the probe as a Python of that version would."""
    facts = {
        "version": list(version), "implementation": "cpython", "bits": 64, "free_threaded": False,
        "base": "/usr", "has_venv": True, "library": "", "folders": [], "multiarch": "",
    } | changes  # fmt: skip
    text = str(facts).replace("'", '"').replace("True", "true").replace("False", "false")
    return executable(path, f"echo '{text}'")


def test_this_interpreter_is_probed():
    interpreter = probe(sys.executable)
    assert interpreter is not None
    assert interpreter.version == sys.version_info[:3]
    assert interpreter.has_venv


def test_a_program_that_fails_is_no_interpreter(tmp_path):
    assert probe(executable(tmp_path / "python3.12", "echo 'command not found' >&2; exit 127")) is None
    assert probe(executable(tmp_path / "python3.11", "echo hello")) is None
    assert probe(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "changes", [{"implementation": "pypy"}, {"bits": 32}, {"free_threaded": True}], ids=str
)
def test_kinds_without_wheels_are_passed_over(tmp_path, changes):
    assert probe(shim(tmp_path / "python3.12", (3, 12, 1), **changes)) is None


def test_the_chosen_one_comes_first_and_then_the_newest(tmp_path, monkeypatch):
    chosen = shim(tmp_path / "chosen" / "python3", (3, 11, 2))
    for minor in (10, 12, 13, 14):
        shim(tmp_path / "bin" / f"python3.{minor}", (3, minor, 0))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(os, "get_exec_path", lambda: [str(tmp_path / "bin")])
    minors = [each.minor for each in candidates(MODELS, [str(chosen)])]
    assert minors == ["3.11", "3.13", "3.12", "3.10"]


def test_one_that_is_out_of_range_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "get_exec_path", list)
    monkeypatch.setattr(pythons, "uv_pythons", lambda _: iter(()))
    assert list(candidates(MODELS, [str(shim(tmp_path / "python3", (3, 14, 0)))])) == []


def test_uv_is_asked_last(tmp_path, monkeypatch):
    ours = shim(tmp_path / "uv-pythons" / "python3.12", (3, 12, 7))
    executable(tmp_path / "bin" / "uv", f'case "$*" in *3.12*) echo {ours} ;; *) exit 2 ;; esac')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(os, "get_exec_path", list)
    [interpreter] = candidates(MODELS, [str(tmp_path / "nothing")])
    assert interpreter.path == str(ours)


def test_a_python_with_libpython_is_better_than_a_newer_one_without(monkeypatch):
    newer, older = python(path="a", version=(3, 13, 0)), python(path="b", version=(3, 11, 2))
    monkeypatch.setattr(libpython, "find", lambda each: Path("x") if each is older else None)
    monkeypatch.setattr(libpython, "can_fetch", lambda each: False)
    assert choice.best([newer, older], with_library=True) is older
    assert choice.best([newer, older], with_library=False) is newer


def test_a_libpython_that_can_be_fetched_is_second_best(monkeypatch):
    neither, fetchable = python(path="a", version=(3, 13, 0)), python(path="b")
    monkeypatch.setattr(libpython, "find", lambda _: None)
    monkeypatch.setattr(libpython, "can_fetch", lambda each: each is fetchable)
    assert choice.best([neither, fetchable], with_library=True) is fetchable


def test_one_that_lacks_something_is_named_rather_than_none(monkeypatch):
    lacking = python(has_venv=False)
    monkeypatch.setattr(libpython, "find", lambda _: None)
    monkeypatch.setattr(libpython, "can_fetch", lambda _: False)
    assert choice.best([lacking], with_library=True) is lacking
    assert choice.best([], with_library=True) is None


def test_an_environment_that_is_there_keeps_its_python(monkeypatch):
    present = python(path=".venv/bin/python", version=(3, 12, 1))
    monkeypatch.setattr(choice, "candidates", lambda *_: iter([python()]))
    chosen = choice.choose({"gateway": present, "models": present}, chosen=["x"])
    assert (chosen.gateway, chosen.models) == (present, present)


def fake_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    executable(tmp_path / "bin" / "uv", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


def test_uv_brings_a_python_into_the_projects_folder(tmp_path, monkeypatch):
    ready = shim(tmp_path / "ready", (3, 12, 7))
    target = '"$UV_PYTHON_INSTALL_DIR"/cpython-3.12.7-linux/bin'
    fake_uv(tmp_path, monkeypatch, f"mkdir -p {target} && cp {ready} {target}/python3.12")
    interpreter = uv.download_python(tmp_path, python(version=(3, 14, 0)))
    assert interpreter.version == (3, 12, 7)
    assert uv.downloaded_python(tmp_path) == interpreter.path


def test_uv_that_cannot_download_says_why_and_what_to_do(tmp_path, monkeypatch):
    fake_uv(tmp_path, monkeypatch, "echo 'error: error sending request' >&2; exit 1")
    with pytest.raises(uv.NoPython, match=r"error sending request\. Install Python 3\.11"):
        uv.download_python(tmp_path, python(version=(3, 14, 0)))
    assert uv.downloaded_python(tmp_path) == ""
