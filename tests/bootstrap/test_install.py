"""A set-up starts at what is missing, and repairs what an interruption left."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap import install, state
from bootstrap.install import Installer, SetupFailed
from bootstrap.pip import Pip, PipFailed
from bootstrap.progress import Lines
from bootstrap.pythons import probe
from bootstrap.stages import GATEWAY_ENV, MODELS_ENV, Stage, stages

PART = Stage("gateway", "a part", GATEWAY_ENV, ("pyproject.toml",), 1, 1)
OTHER = Stage("tools", "another part", GATEWAY_ENV, ("pyproject.toml",), 1, 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "build").mkdir()
    return tmp_path


@pytest.fixture
def pips(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that pip was given, instead of running them."""
    commands: list[list[str]] = []

    def run(self: Pip, words: list[str], told: object, writes: object) -> int:
        commands.append(words)
        return 7

    monkeypatch.setattr(Pip, "run", run)
    return commands


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments without pip are made in a tenth of the time."""
    monkeypatch.setattr(Installer, "venv_options", ("--without-pip",))


def installer(root: Path, environment: str = GATEWAY_ENV, device: str = "cpu") -> Installer:
    return Installer(root, environment, probe(sys.executable), device, Lines())


def test_an_environment_is_made_and_filled(root, pips):
    installer(root).install([PART, OTHER])
    assert (root / ".venv" / "bin" / "python").exists()
    project, locked, tools = pips
    assert project == ["install", "--no-deps", "-e", "."]
    lock = ["-r", "constraints/locks/gateway.txt"]
    assert locked == ["install", "--no-deps", "--require-hashes", *lock]
    assert tools == ["install", *install.REQUIREMENTS["tools"], "-c", "constraints/gateway.txt"]
    assert set(state.load(root / ".venv").done) == {"gateway", "tools"}


def test_an_environment_whose_python_is_too_old_is_made_again(root, pips, monkeypatch):
    installer(root).install([PART])
    assert installer(root).damage() == ""
    monkeypatch.setattr(Installer, "_python_version", lambda _: "3.10.12")
    assert installer(root).damage() == "Python 3.10.12 does not run what it needs now"
    assert installer(root).missing([PART]) == [PART]


def test_a_folder_of_the_packages_name_beside_a_script_does_not_hide_the_package(root, pips, tmp_path):
    package = root / "client" / "clipserve" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text("")
    installer(root).install([PART])
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "clipserve" / "client").mkdir(parents=True)
    (elsewhere / "script.py").write_text("import clipserve; print(clipserve.__file__)")
    python = root / ".venv" / "bin" / "python"
    done = subprocess.run(
        [python, "-E", "script.py"], cwd=elsewhere, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(package)


def test_a_second_run_does_nothing(root, pips):
    installer(root).install([PART])
    pips.clear()
    installer(root).install([PART])
    assert pips == []
    assert installer(root).missing([PART]) == []


def test_only_what_changed_is_installed_again(root, pips):
    installer(root).install([PART])
    pips.clear()
    (root / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert installer(root).missing([PART, OTHER]) == [PART, OTHER]
    installer(root).install([PART])
    assert "constraints/locks/gateway.txt" in pips[-1]
    assert (root / ".venv" / "pyvenv.cfg").exists()


def test_a_run_that_was_interrupted_while_it_wrote_begins_anew(root, pips, capsys):
    installer(root).install([PART])
    known = state.load(root / ".venv")
    known.writing = "gateway"
    state.save(root / ".venv", known)
    (root / ".venv" / "half").touch()
    installer(root).install([PART])
    assert not (root / ".venv" / "half").exists()
    assert "interrupted while it wrote gateway" in capsys.readouterr().err


def test_a_folder_that_was_moved_is_set_up_anew(root, pips, tmp_path_factory):
    installer(root).install([PART])
    moved = tmp_path_factory.mktemp("elsewhere") / "clone"
    root.rename(moved)
    assert "it was made in" in installer(moved).damage()
    installer(moved).install([PART])
    assert installer(moved).damage() == ""


def test_a_folder_of_somebody_else_is_not_touched(root, pips):
    (root / ".venv").mkdir()
    (root / ".venv" / "notes").touch()
    assert installer(root).is_foreign()


@pytest.mark.parametrize("what", ["file", "dangling link", "link with a file .ready"])
def test_anything_of_somebody_else_is_noticed(root, tmp_path_factory, what):
    path, elsewhere = root / ".venv", tmp_path_factory.mktemp("elsewhere")
    if what == "file":
        path.touch()
    elif what == "dangling link":
        path.symlink_to(elsewhere / "gone")
    else:
        (elsewhere / ".ready").touch()
        path.symlink_to(elsewhere)
    assert installer(root).is_foreign()


def test_an_empty_folder_is_nobodys(root, pips):
    (root / ".venv").mkdir()
    assert not installer(root).is_foreign()
    installer(root).install([PART])
    assert installer(root).damage() == ""


def test_an_environment_that_was_half_removed_is_still_known(root, pips):
    installer(root).install([PART])
    install.empty(root / ".venv", but=state.FILE)
    assert not installer(root).is_foreign()
    assert installer(root).damage()


def test_pip_that_installs_elsewhere_is_noticed(root, pips):
    with pytest.raises(SetupFailed, match="check pip's settings"):
        installer(root).install([replace(PART, proof="lib/nothing")])
    assert "gateway" not in state.load(root / ".venv").done


def test_a_thorough_look_finds_every_lost_file(root, pips, monkeypatch):
    installer(root).install([PART])
    monkeypatch.setattr(Installer, "thorough", True)
    site = next((root / ".venv" / "lib").glob("python3.*")) / "site-packages"
    (site / "x-1.dist-info").mkdir()
    (site / "x-1.dist-info" / "RECORD").write_text("x/__init__.py,,\nx/y.pyc,,\ntorch/test/a,,\n")
    assert installer(root).damage() == "x/__init__.py is gone"
    (site / "x").mkdir()
    (site / "x" / "__init__.py").touch()
    assert installer(root).damage() == ""


def test_an_environment_whose_python_is_gone_is_made_anew(root, pips):
    installer(root).install([PART])
    python = root / ".venv" / "bin" / "python"
    python.unlink()
    assert "no longer runs" in installer(root).damage()
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    assert "no longer runs" in installer(root).damage()


def test_an_environment_that_lost_a_part_is_made_anew(root, pips):
    installer(root).install([replace(PART, proof="bin/pyth*n")])
    assert installer(root).damage() == ""
    known = state.load(root / ".venv")
    known.proofs["gateway"] = "lib/gone"
    state.save(root / ".venv", known)
    assert installer(root).damage() == "gateway is incomplete: lib/gone is gone"


def test_what_failed_before_it_wrote_goes_on_in_the_same_environment(root, monkeypatch):
    def fail(self: Pip, words: list[str], told: object, writes: object) -> int:
        if "-e" in words:
            return 0
        raise PipFailed("the package index cannot be reached")

    monkeypatch.setattr(Pip, "run", fail)
    with pytest.raises(PipFailed):
        installer(root).install([PART])
    assert installer(root).damage() == ""
    assert installer(root).missing([PART]) == [PART]


def test_what_failed_while_it_wrote_is_damaged(root, monkeypatch):
    def fail(self: Pip, words: list[str], told: object, writes: object) -> int:
        if "-e" in words:
            return 0
        writes()
        raise PipFailed("the disk is full")

    monkeypatch.setattr(Pip, "run", fail)
    with pytest.raises(PipFailed):
        installer(root).install([PART])
    assert "interrupted" in installer(root).damage()


def test_a_python_that_cannot_make_an_environment_is_named(root, tmp_path):
    bad = tmp_path / "python"
    bad.write_text("#!/bin/sh\necho no ensurepip >&2; exit 1\n")
    bad.chmod(0o755)
    good = probe(sys.executable)
    broken = Installer(root, GATEWAY_ENV, type(good)(str(bad), (3, 12, 0), True, "/usr"), "cpu", Lines())
    with pytest.raises(SetupFailed, match=r"cannot make \.venv: no ensurepip"):
        broken.install([PART])
    assert installer(root).missing([PART]) == [PART]


def test_an_environment_may_lie_on_another_disk(root, pips, tmp_path_factory):
    (root / ".venv").symlink_to(tmp_path_factory.mktemp("disk"))
    installer(root).install([PART])
    assert (root / ".venv").is_symlink()
    assert installer(root).damage() == ""


def test_torch_falls_back_to_the_ordinary_index(root, pips, monkeypatch):
    monkeypatch.setenv("TORCH_INDEX", "http://127.0.0.1:9/whl")
    stage = Stage("torch", "torch", MODELS_ENV, (), 1, 1)
    installer(root, MODELS_ENV).install([stage])
    assert not any("--index-url" in words for words in pips)


def test_torch_of_its_own_index_comes_without_cuda(root, pips, monkeypatch):
    monkeypatch.setattr(install.torch_index, "problem", lambda _: "")
    stage = Stage("torch", "torch", MODELS_ENV, (), 1, 1)
    installer(root, MODELS_ENV).install([stage])
    assert any("--index-url" in words and "--no-deps" in words for words in pips)
    assert state.load(root / MODELS_ENV).device == "cpu"


def test_an_index_that_has_no_torch_is_told_and_the_ordinary_one_is_asked(root, monkeypatch, capsys):
    asked: list[list[str]] = []

    def run(self: Pip, words: list[str], told: object, writes: object) -> int:
        asked.append(words)
        if "--index-url" in words:
            raise PipFailed("the package index has no build of torch")
        return 3

    monkeypatch.setattr(Pip, "run", run)
    monkeypatch.setattr(install.torch_index, "problem", lambda _: "")
    installer(root, MODELS_ENV).install([Stage("torch", "torch", MODELS_ENV, (), 1, 1)])
    assert "--index-url" not in asked[-1]
    assert "no torch from" in capsys.readouterr().err


def test_another_device_brings_another_torch(root, pips):
    stage = Stage("torch", "torch", MODELS_ENV, (), 1, 1)
    installer(root, MODELS_ENV).install([stage])
    assert installer(root, MODELS_ENV, "cpu").missing([stage]) == []
    assert installer(root, MODELS_ENV, "cuda").missing([stage]) == [stage]


def test_triton_comes_without_what_only_its_python_layer_needs(root, pips):
    installer(root, MODELS_ENV).install([Stage("triton", "Triton", MODELS_ENV, (), 1, 1)])
    assert "--no-deps" in pips[-1]


def test_users_get_no_tools_of_developers():
    assert not {"tools", "kubectl", "test-tools"} & {stage.name for stage in stages("cpu", tests=False)}
    assert {"tools", "kubectl", "test-tools"} <= {stage.name for stage in stages("cpu", tests=True)}


def test_the_first_use_without_a_card_keeps_to_its_size():
    assert sum(stage.download_mb for stage in stages("cpu", tests=False)) <= 900
    assert sum(stage.disk_mb for stage in stages("cpu", tests=False)) <= 2000
