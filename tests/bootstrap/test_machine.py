"""What the set-up says of a machine."""

from __future__ import annotations

import pytest

from bootstrap import machine
from bootstrap.machine import family, os_release, this_machine

UBUNTU = 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (UBUNTU, "debian"),
        ("ID=debian\n", "debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "fedora"),
        ("ID=fedora\n", "fedora"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "suse"),
        ("ID=arch\n", "arch"),
        ("ID=alpine\n", "alpine"),
        ("ID=nixos\n", ""),
        ("", ""),
    ],
)
def test_the_family_of_a_distribution_is_known(text, expected):
    assert family(os_release(text)) == expected


def test_quotes_of_os_release_are_removed():
    assert os_release(UBUNTU)["PRETTY_NAME"] == "Ubuntu 24.04.1 LTS"


def test_this_machine_is_one_that_the_tests_can_run_on(tmp_path):
    here = this_machine(tmp_path)
    assert here.system == "Linux"
    assert here.cores >= 1
    assert here.memory_mb > 0
    assert here.disk_mb > 0
    assert not here.noexec
    assert here.glibc is None or here.glibc > (2, 0)


def test_the_limit_of_a_container_counts_as_memory(monkeypatch):
    files = {
        "/proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n",
        "/sys/fs/cgroup/memory.max": "2000000000\n",
        "/sys/fs/cgroup/memory.current": "500000000\n",
    }
    monkeypatch.setattr(machine, "read", lambda path: files.get(str(path), ""))
    assert machine.free_memory() == 1_500_000_000
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert machine.free_memory() == 8_000_000 * 1024


def test_a_driver_of_nvidia_is_noticed(monkeypatch):
    driver = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
    monkeypatch.setattr(machine, "read", lambda path: driver if "nvidia" in str(path) else "")
    assert machine.nvidia_driver() == "NVIDIA driver 550.54.15"
