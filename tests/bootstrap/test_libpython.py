"""The libpython that Triton's Python backend loads is found, linked or fetched."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from bootstrap import debian, libpython
from bootstrap.libpython import NoLibpython
from bootstrap.pythons import probe
from testing.machines import python

NAME = "libpython3.11.so.1.0"


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[Path, tuple[int, ...]]:
    """The version that each library reports; others cannot be loaded."""
    known: dict[Path, tuple[int, ...]] = {}
    monkeypatch.setattr(libpython, "version_of", lambda path: known.get(Path(path).resolve()))
    return known


def library(folder: Path, versions: dict[Path, tuple[int, ...]], version: tuple[int, ...]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_bytes(b"library")
    versions[(folder / NAME).resolve()] = version
    return folder / NAME


def test_the_interpreters_own_folder_comes_first(tmp_path, versions):
    ours = library(tmp_path / "lib", versions, (3, 11, 2))
    assert libpython.find(python(folders=(str(tmp_path / "lib"),), base=str(tmp_path))) == ours.resolve()


def test_a_library_that_is_named_comes_before_all(tmp_path, versions, monkeypatch):
    library(tmp_path / "lib", versions, (3, 11, 2))
    named = library(tmp_path / "carried", versions, (3, 11, 2))
    monkeypatch.setenv("LIBPYTHON", str(named))
    assert libpython.find(python(base=str(tmp_path))) == named.resolve()


def test_a_library_of_another_version_is_not_taken(tmp_path, versions):
    library(tmp_path / "lib", versions, (3, 11, 9))
    assert (
        libpython.find(python(folders=(str(tmp_path / "lib"),), base=str(tmp_path), multiarch="none")) is None
    )


def test_a_library_that_is_found_is_linked_into_the_environment(tmp_path, versions):
    ours = library(tmp_path / "lib", versions, (3, 11, 2))
    (tmp_path / "env" / "lib").mkdir(parents=True)
    each = python(folders=(str(tmp_path / "lib"),), base=str(tmp_path))
    assert libpython.provide(each, tmp_path / "env").resolve() == ours.resolve()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that can be downloaded; its library."""
    tree = tmp_path / "tree" / "usr" / "lib"
    tree.mkdir(parents=True)
    monkeypatch.setattr(debian, "owner", lambda _: "python3.11-minimal")
    monkeypatch.setattr(debian, "installed_version", lambda _: "3.11.2-6")

    @contextlib.contextmanager
    def unpacked(name, version=""):
        assert (name, version) == ("libpython3.11", "3.11.2-6")
        yield tmp_path / "tree"

    monkeypatch.setattr(debian, "unpacked", unpacked)
    return tree / NAME


def test_a_library_that_is_missing_is_fetched_into_the_environment(tmp_path, package, monkeypatch):
    package.write_bytes(b"library")
    monkeypatch.setattr(libpython, "find", lambda _: None)
    monkeypatch.setattr(libpython, "version_of", lambda path: (3, 11, 2) if Path(path).exists() else None)
    (tmp_path / "env" / "lib").mkdir(parents=True)
    library = libpython.provide(python(), tmp_path / "env")
    assert library == tmp_path / "env" / "lib" / NAME
    assert library.read_bytes() == b"library"
    assert not library.is_symlink()


def test_a_fetched_library_of_another_version_is_refused(tmp_path, package, monkeypatch):
    package.write_bytes(b"library")
    monkeypatch.setattr(libpython, "find", lambda _: None)
    monkeypatch.setattr(libpython, "version_of", lambda _: (3, 11, 9))
    (tmp_path / "lib").mkdir()
    with pytest.raises(NoLibpython, match=r"3\.11\.9"):
        libpython.fetch(python(), tmp_path / "lib")
    assert list((tmp_path / "lib").iterdir()) == []


def test_a_download_that_fails_says_why(tmp_path, monkeypatch):
    @contextlib.contextmanager
    def unpacked(name, version=""):
        raise debian.FetchFailed("Temporary failure resolving")
        yield

    monkeypatch.setattr(debian, "owner", lambda _: "python3.11-minimal")
    monkeypatch.setattr(debian, "installed_version", lambda _: "")
    monkeypatch.setattr(debian, "unpacked", unpacked)
    with pytest.raises(NoLibpython, match="Temporary failure"):
        libpython.fetch(python(), tmp_path)


def test_the_library_that_the_set_up_has_placed_tells_the_version_of_its_python():
    environment = Path(__file__).parents[2] / ".venv-models"
    interpreter = probe(environment / "bin" / "python")
    assert interpreter is not None
    assert (
        libpython.version_of(environment / "lib" / libpython.library_name(interpreter)) == interpreter.version
    )


def test_a_file_that_is_no_library_has_no_version(tmp_path):
    (tmp_path / "x.so").write_text("not a library")
    assert libpython.version_of(tmp_path / "x.so") is None
