"""A data folder that cannot be used is told before Triton starts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from clipserve_gateway.local import data_folder
from clipserve_gateway.local.data_folder import DataUnusable, check_data


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        check_data(str(folder))
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("data", ["s3://bucket/folder", "milvus://host:19530", "milvus-lite:/proc/x"])
def test_data_elsewhere_is_not_checked(data: str) -> None:
    check_data(data)


def failure(data: object) -> str:
    with pytest.raises(DataUnusable) as failed:
        check_data(str(data))
    cause, remedy = str(failed.value).splitlines()
    assert cause.startswith(f"The data folder {data} cannot be used: ")
    assert "--data or CLIPSERVE_DATA" in remedy
    return cause.partition("cannot be used: ")[2]


def test_what_is_no_folder_is_told_with_reason_and_remedy(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert failure(file) == "it is a file."
    assert failure(file / "x") == "a part of the path is a file."
    assert failure("/proc/x") == "a folder cannot be created there."


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_folder_that_takes_no_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(number, {errno.EROFS: "Read-only file system"}.get(number, "some reason"))

    monkeypatch.setattr(data_folder.tempfile, "NamedTemporaryFile", refuse)
    assert failure(tmp_path) in ("Read-only file system.", "some reason.")
