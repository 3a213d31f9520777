"""Where Triton's log is, and whether it stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from clipserve_gateway.local.triton_log import choose_log


def test_triton_logs_into_the_data_folder(tmp_path: Path) -> None:
    log = choose_log(None, str(tmp_path / "data"))
    assert log.path == tmp_path / "data" / "triton.log"
    assert choose_log(None, str(tmp_path / "data"), 2).path == tmp_path / "data" / "triton.log.2"
    log.close(keep=False)
    assert log.path.exists()


def test_a_given_log_is_taken(tmp_path: Path) -> None:
    assert choose_log(tmp_path / "it", str(tmp_path)).path == tmp_path / "it"
    assert choose_log(tmp_path / "it", str(tmp_path), 1).path == tmp_path / "it.1"


def test_the_log_of_another_gateway_on_the_same_data_is_left_alone(tmp_path: Path) -> None:
    first, second = (choose_log(None, str(tmp_path)) for _ in range(2))
    assert second.temporary
    assert second.path != first.path
    first.close(keep=False)
    second.close(keep=False)
    third = choose_log(None, str(tmp_path))
    assert third.path == first.path
    third.close(keep=False)


@pytest.mark.parametrize(
    "data", ["s3://bucket/folder", "milvus://host:19530", "milvus-lite:file", "/proc/none"]
)
@pytest.mark.parametrize("keep", [True, False])
def test_data_that_takes_no_log_means_a_temporary_one_which_stays_after_a_failure(
    data: str, keep: bool
) -> None:
    log = choose_log(None, data)
    assert log.path.exists()
    assert not log.path.is_relative_to("/proc")
    log.close(keep=keep)
    assert log.path.exists() == keep
    log.path.unlink(missing_ok=True)
