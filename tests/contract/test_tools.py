"""A missing tool skips a test with its reason, and fails it in CI."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from testing import tools

Skipped, Failed = pytest.skip.Exception, pytest.fail.Exception


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two empty folders for programs, outside CI: `venv`, where Python is, and `path`."""
    for name in ("venv", "path"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.delenv("CI", raising=False)
    return tmp_path


def program(path: Path, output: str = "") -> str:
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)
    return str(path)


def kubectl(folder: Path, minor: int) -> str:
    return program(folder / "kubectl", f'{{"clientVersion": {{"major": "1", "minor": "{minor}"}}}}')


@pytest.mark.parametrize(
    ("value", "ci"),
    [
        ("true", True),
        ("1", True),
        ("yes", True),
        ("false", False),
        ("False", False),
        ("0", False),
        ("", False),
    ],
)
def test_ci_is_what_its_variable_says(value: str, ci: bool) -> None:
    assert tools.in_ci({"CI": value}) is ci
    assert not tools.in_ci({})


def test_a_tool_beside_python_comes_before_one_on_the_path(machine: Path) -> None:
    on_path = program(machine / "path" / "tool")
    assert tools.need("tool", "install it") == on_path
    beside = program(machine / "venv" / "tool")
    assert tools.need("tool", "install it") == beside


def test_a_file_that_cannot_be_executed_is_not_a_tool(machine: Path) -> None:
    (machine / "path" / "tool").write_text("")
    with pytest.raises(Skipped):
        tools.need("tool", "install it")


def test_a_missing_tool_skips_with_its_remedy() -> None:
    with pytest.raises(Skipped, match=r"^tool is missing: install it$"):
        tools.need("tool", "install it")


def test_without_a_path_only_the_usual_folders_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert tools.need("sh", "install it") in {f"{folder}/sh" for folder in os.defpath.split(os.pathsep)}


def test_a_missing_tool_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(Failed, match=r"^tool is missing: install it\. In CI"):
        tools.need("tool", "install it")


def test_an_old_kubectl_has_a_reason_of_its_own(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{machine / 'path'}:/usr/bin:/bin")
    kubectl(machine / "venv", 26)
    with pytest.raises(Skipped, match=r"^kubectl 1\.26 is too old: .*1\.27 or newer"):
        tools.need_kubectl()
    monkeypatch.setenv("CI", "1")
    with pytest.raises(Failed, match=r"^kubectl 1\.26 is too old"):
        tools.need_kubectl()


def test_a_kubectl_that_is_new_enough_is_taken(machine: Path) -> None:
    found = kubectl(machine / "venv", 27)
    assert tools.need_kubectl() == found


def test_a_kubectl_without_a_version_is_not_taken(machine: Path) -> None:
    program(machine / "venv" / "kubectl", "error")
    with pytest.raises(Skipped, match="does not say its version"):
        tools.need_kubectl()


def test_a_missing_kubectl_says_how_to_get_it() -> None:
    with pytest.raises(Skipped, match=r"^kubectl is missing: run `make setup`, or install version 1\.27"):
        tools.need_kubectl()
