"""Each lack of a machine is named, with the line that mends it."""

from __future__ import annotations

import re
import socket

import pytest

from bootstrap import libpython, preflight
from bootstrap.advice import PACKAGES, install_line
from bootstrap.choice import Choice
from bootstrap.pythons import GATEWAY, MODELS
from bootstrap.stages import Stage, stages
from testing.machines import machine, python

GATEWAY_ONLY = [Stage("gateway", "a part of 2 GB", ".venv", (), 600, 2000)]
TORCH_ONLY = [stage for stage in stages("cpu", tests=False) if stage.name == "torch"]


@pytest.fixture(autouse=True)
def _library(monkeypatch, tmp_path):
    monkeypatch.setattr(libpython, "find", lambda _: tmp_path / "libpython3.11.so.1.0")


def checks(here, root, **choice):
    both = Choice(choice.get("gateway", python()), choice.get("models", python()))
    missing = choice.get("missing", GATEWAY_ONLY)
    return {check.name: check for check in preflight.check_all(here, both, root, "cpu", missing, [])}


def test_a_good_machine_misses_nothing(tmp_path):
    assert {check.status for check in checks(machine(), tmp_path).values()} <= {"ok", "note"}


@pytest.mark.parametrize(
    ("changes", "row", "remedy"),
    [
        ({"system": "Darwin", "glibc": None}, "system", "docker compose"),
        ({"system": "Windows", "glibc": None}, "system", "WSL 2"),
        ({"architecture": "aarch64"}, "system", "x86-64 processors only.*docker compose"),
        ({"glibc": (2, 31)}, "system", "glibc 2.35 or newer"),
        ({"glibc": None, "family": "alpine"}, "system", "glibc"),
        ({"features": frozenset({"sse4_2"})}, "processor", "AVX2"),
        ({"memory_mb": 900}, "memory", "stop other programs"),
        ({"disk_mb": 700}, "disk", "2.3 GB are needed"),
        ({"noexec": True}, "folder", "allows programs"),
    ],
)
def test_a_lack_is_named_with_what_to_do(tmp_path, changes, row, remedy):
    table = checks(machine(**changes), tmp_path)
    assert [name for name, check in table.items() if check.status == "missing"] == [row]
    assert re.search(remedy, table[row].remedy)


def test_a_processor_whose_features_are_unknown_is_not_refused(tmp_path):
    assert checks(machine(features=frozenset()), tmp_path)["processor"].status == "ok"


def test_little_memory_is_noted(tmp_path):
    assert checks(machine(memory_mb=2000), tmp_path)["memory"].status == "note"


def test_no_python_is_told_with_the_distributions_line(tmp_path):
    check = checks(machine(), tmp_path, gateway=None, models=None)["python (gateway)"]
    assert (check.status, "3.11 to 3.14" in check.text) == ("missing", True)
    assert "sudo apt-get install python3 python3-venv" in check.remedy


def test_a_machine_whose_python_is_too_new_for_the_models_gets_one_of_uv(tmp_path):
    check = checks(machine(), tmp_path, models=None)["python (models)"]
    assert (check.status, "3.10 to 3.13" in check.text, "uv downloads" in check.text) == ("note", True, True)


def test_a_machine_whose_python_is_too_old_for_the_gateway_gets_one_of_uv(tmp_path):
    old = python(version=(3, 10, 12))
    check = checks(machine(), tmp_path, gateway=None, models=old)["python (gateway)"]
    assert (check.status, "3.11 to 3.14" in check.text, "uv downloads" in check.text) == ("note", True, True)


def test_a_python_without_venv_is_told_with_its_package(tmp_path):
    check = checks(machine(), tmp_path, gateway=python(has_venv=False))["python (gateway)"]
    assert check.remedy == "sudo apt-get install python3.11-venv"


def test_a_libpython_that_can_be_fetched_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(libpython, "find", lambda _: None)
    monkeypatch.setattr(libpython, "can_fetch", lambda _: True)
    assert checks(machine(), tmp_path)["libpython"].status == "note"


def test_a_libpython_that_cannot_be_fetched_is_told_with_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(libpython, "find", lambda _: None)
    monkeypatch.setattr(libpython, "can_fetch", lambda _: False)
    check = checks(machine(), tmp_path)["libpython"]
    assert (check.status, check.remedy) == ("missing", "sudo apt-get install libpython3.11")


def test_somebody_elses_environment_is_named_before_anything_is_fetched(tmp_path):
    both = Choice(python(), python())
    table = preflight.check_all(machine(), both, tmp_path, "cpu", [], [], [tmp_path / ".venv"])
    [row] = [check for check in table if check.status == "missing"]
    assert (row.name, row.remedy) == (".venv", "move or remove it")


def test_a_path_that_is_not_utf8_is_told(tmp_path):
    assert preflight.check_folder(machine(), tmp_path / "\udcfc").status == "missing"


@pytest.mark.parametrize("name", ["a:b", "a$b"])
def test_a_folder_whose_path_an_environment_cannot_hold_is_told(tmp_path, name):
    root = tmp_path / name
    root.mkdir()
    assert checks(machine(), root)["folder"].status == "missing"


def test_it_says_where_torch_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "problem", lambda _: "")
    monkeypatch.setenv("TORCH_INDEX", "http://mirror.example/cpu")
    assert checks(machine(), tmp_path, missing=TORCH_ONLY)["torch"].text.endswith("http://mirror.example/cpu")
    assert "torch" not in checks(machine(), tmp_path)


def test_an_index_of_torch_that_cannot_be_reached_is_noted_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_INDEX", "http://127.0.0.1:9/whl")
    check = checks(machine(), tmp_path, missing=TORCH_ONLY)["torch"]
    assert check.status == "note"
    assert "2.4 GB more" in check.text


def test_a_taken_port_is_a_note():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        check = preflight.check_ports([port])
    assert (check.status, str(port) in check.text) == ("note", True)


@pytest.mark.parametrize("family", list(PACKAGES))
@pytest.mark.parametrize("part", ["python", "venv", "libpython", "bash"])
def test_every_family_has_a_line_for_every_part(family, part):
    line = install_line(family, part, "3.12")
    assert line.startswith("sudo ")
    assert "{" not in line


def test_an_unknown_distribution_gets_words():
    assert install_line("", "libpython", "3.12") == "install libpython for Python 3.12"


def test_the_ranges_are_those_that_were_tried():
    assert GATEWAY == ((3, 11), (3, 14))
    assert MODELS == ((3, 10), (3, 13))
