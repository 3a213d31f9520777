"""The temporary folder that Triton runs from."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from clipserve_gateway.local.run_folder import (
    NoPlainFolder,
    candidates,
    first_fit,
    problem_of,
    temporary_folder,
)


def test_a_temporary_folder_is_the_first_that_triton_can_run_from(tmp_path: Path) -> None:
    odd, good = tmp_path / "with space", tmp_path / "good"
    odd.mkdir()
    good.mkdir()
    assert first_fit([odd, tmp_path / "missing", good]) == good
    with pytest.raises(
        NoPlainFolder, match=r"with space has other characters in its path.*missing is not a folder.*TMPDIR"
    ):
        first_fit([odd, tmp_path / "missing"])


def test_the_users_temporary_folder_is_preferred(tmp_path: Path) -> None:
    assert candidates({"TMPDIR": "/mine", "XDG_RUNTIME_DIR": "/run/me"})[0] == Path("/mine")
    assert Path("/tmp") in candidates({})
    with temporary_folder({"TMPDIR": str(tmp_path)}) as folder:
        assert Path(folder).parent == tmp_path
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("flag", "free", "problem"),
    [(os.ST_NOEXEC, 1 << 20, "is mounted noexec"), (0, 0, "is full"), (0, 1 << 20, "")],
)
def test_a_folder_must_be_one_that_programs_may_run_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: int, free: int, problem: str
) -> None:
    real = os.statvfs(tmp_path)
    fields = list(real[:10])
    fields[1], fields[4], fields[8] = 4096, free, flag
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((*fields, 0)))
    assert problem_of(tmp_path) == problem
