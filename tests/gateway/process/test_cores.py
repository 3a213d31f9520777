"""The number of cores within a container's limits, for both versions of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clipserve_gateway.process.cores import available_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_a_limit_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == 8
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    assert available_cores(tmp_path) == 8
    write(tmp_path / "sys/fs/cgroup/cpu.max", "max 100000\n")
    assert available_cores(tmp_path) == 8


@pytest.mark.parametrize(
    ("limit", "cores"), [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("900000 50000", 8)]
)
def test_version_2_limit_is_rounded_up(tmp_path: Path, limit: str, cores: int) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", limit + "\n")
    assert available_cores(tmp_path) == cores


def test_the_tightest_limit_above_a_nested_group_counts(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/system.slice/clipserve.service\n")
    write(tmp_path / "sys/fs/cgroup/system.slice/cpu.max", "300000 100000\n")
    write(tmp_path / "sys/fs/cgroup/system.slice/clipserve.service/cpu.max", "600000 100000\n")
    assert available_cores(tmp_path) == 3


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_version_1_limit(tmp_path: Path, folder: str) -> None:
    write(tmp_path / "proc/self/cgroup", "4:memory:/kubepods/x\n3:cpu,cpuacct:/kubepods/x\n0::/\n")
    write(tmp_path / f"sys/fs/cgroup/{folder}/cpu.cfs_quota_us", "250000\n")
    write(tmp_path / f"sys/fs/cgroup/{folder}/cpu.cfs_period_us", "100000\n")
    assert available_cores(tmp_path) == 3
    write(tmp_path / f"sys/fs/cgroup/{folder}/cpu.cfs_quota_us", "-1\n")
    assert available_cores(tmp_path) == 8


@pytest.mark.parametrize("text", ["", "nonsense", "1 2 3", "100000 0", "a b"])
def test_unreadable_limits_are_no_limits(tmp_path: Path, text: str) -> None:
    write(tmp_path / "proc/self/cgroup", f"{text}\n0::/../..\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", text)
    assert available_cores(tmp_path) == 8
