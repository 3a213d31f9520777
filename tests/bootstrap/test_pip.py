"""pip's output becomes a line of progress, or a sentence that says what went wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap import pip
from bootstrap.pip import Pip, PipFailed, clean_environment, downloaded, meaning


@pytest.mark.parametrize(
    ("line", "name", "size"),
    [
        ("  Downloading lancedb-0.40.0-cp310-abi3-manylinux_2_28_x86_64.whl (75.2 MB)\n",
         "lancedb-0.40.0-cp310-abi3-manylinux_2_28_x86_64.whl", 75_200_000),
        ("Downloading https://mirror.example/a/b/click-8.5.1-py3-none-any.whl (126 kB)\n",
         "click-8.5.1-py3-none-any.whl", 126_000),
        ("  Downloading tiny-1.0-py3-none-any.whl (512 bytes)\n", "tiny-1.0-py3-none-any.whl", 512),
        ("Collecting torch==2.13.0\n", "", 0),
        ("  Using cached click-8.5.1-py3-none-any.whl (126 kB)\n", "", 0),
    ],
)  # fmt: skip
def test_a_download_is_noticed_with_its_size(line, name, size):
    assert downloaded(line) == (name, size)


def test_a_wheel_of_a_folder_counts_as_well(tmp_path):
    wheel = tmp_path / "torch-2.13.0-cp311-cp311-linux_x86_64.whl"
    wheel.write_bytes(b"12345")
    assert downloaded(f"Processing {wheel}\n") == (wheel.name, 5)
    assert downloaded(f"Processing {wheel} (from clipserve)\n") == (wheel.name, 5)


@given(st.text())
def test_any_line_can_be_read(line):
    assert downloaded(line)[1] >= 0


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...): Failed to "
         "establish a new connection: [Errno -3] Temporary failure in name resolution')'\n"
         "ERROR: Could not find a version that satisfies the requirement x\n"
         "ERROR: No matching distribution found for x", "cannot be reached"),
        ("ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: 1.0)\n"
         "ERROR: No matching distribution found for torch==2.13.0", "no build of torch==2.13.0"),
        ("ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)\n"
         "ERROR: No matching distribution found for x==1", "cannot be reached, or lacks x==1"),
        ("ProxyError('Cannot connect to proxy.', ...)\nERROR: No matching distribution found for x", "proxy"),
        ("SSLError(SSLCertVerificationError(1, 'certificate verify failed'))", "certificate"),
        ("../meson.build:1:0: ERROR: Unknown compiler(s): [['cc'], ['gcc']]", "no ready-made build"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "the lock file"),
        ("ERROR: something new\n", "something new"),
        ("", "pip failed without a message"),
    ],
)  # fmt: skip
def test_an_error_becomes_a_sentence(output, expected):
    assert expected in meaning(output)


def test_nothing_from_outside_leads_pip_elsewhere():
    given_variables = {"PYTHONPATH": "/x", "PIP_TARGET": "/y", "PIP_INDEX_URL": "http://mirror", "HOME": "/h"}
    cleaned = clean_environment(given_variables)
    assert cleaned["PIP_INDEX_URL"] == "http://mirror"
    assert cleaned["HOME"] == "/h"
    assert not {"PYTHONPATH", "PIP_TARGET"} & set(cleaned)


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """An interpreter whose pip is a shell script; tests write its body."""
    path = tmp_path / "python"
    path.touch(mode=0o755)
    return path


def run(fake: Path, body: str) -> tuple[int, list[tuple[str, int]], list[str]]:
    fake.write_text(f"#!/bin/sh\n{body}\n")
    told: list[tuple[str, int]] = []
    writes: list[str] = []
    runner = Pip(fake, fake.parent, fake.parent / "log")
    size = runner.run(["install", "x"], lambda *it: told.append(it), lambda: writes.append("now"))
    return size, told, writes


def test_progress_is_told_and_writing_is_announced(fake):
    body = "echo '  Downloading a-1-py3-none-any.whl (2 MB)'; echo 'Installing collected packages: a'"
    told = [("a-1-py3-none-any.whl", 2_000_000), ("unpacking", 2_000_000)]
    assert run(fake, body) == (2_000_000, told, ["now"])
    assert "Downloading a-1" in (fake.parent / "log").read_text()


def test_a_failure_names_the_file_with_all_of_pips_output(fake):
    with pytest.raises(PipFailed, match=r"disk is full.*log"):
        run(fake, "echo 'ERROR: [Errno 28] No space left on device'; exit 1")
    assert not pip.Pip.running


def test_after_an_interruption_no_further_pip_begins(fake):
    Pip.stop_all()
    try:
        with pytest.raises(PipFailed, match="interrupted"):
            run(fake, "touch begun")
    finally:
        Pip.stopping.clear()
    assert not (fake.parent / "begun").exists()


def test_a_pip_whose_parent_was_killed_still_holds_the_folders_lock(fake, tmp_path, monkeypatch):
    with (tmp_path / "lock").open("w") as lock:
        monkeypatch.setattr(Pip, "held", (lock.fileno(),))
        run(fake, f"readlink /proc/self/fd/{lock.fileno()}; ls -l /proc/$$/fd")
    assert str(tmp_path / "lock") in (fake.parent / "log").read_text()


def test_pip_keeps_downloads_beside_the_project_unless_told_otherwise(fake, monkeypatch):
    monkeypatch.delenv("PIP_CACHE_DIR", raising=False)
    run(fake, 'echo "$PIP_CACHE_DIR"')
    assert str(pip.cache_folder(fake.parent)) in (fake.parent / "log").read_text()
    monkeypatch.setenv("PIP_CACHE_DIR", "/elsewhere")
    run(fake, 'echo "$PIP_CACHE_DIR"')
    assert "/elsewhere" in (fake.parent / "log").read_text()
