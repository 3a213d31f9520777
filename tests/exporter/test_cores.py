"""Cores shared by the Python processes of one Triton: real processes, which hold real locks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import clipserve_exporter
import pytest
from clipserve_exporter.backend.clipserve_process import bound_memory

BACKEND = Path(clipserve_exporter.__file__).parent / "backend"
INSTANCE = """
import os, sys
from clipserve_cores import SharedCores
shared = SharedCores(int(sys.argv[1]))
for line in sys.stdin:
    with shared.at_work() as cores:
        print(cores, flush=True)
        if not sys.stdin.readline():
            break
    print("idle", flush=True)
"""
FAMILY = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {INSTANCE!r}, sys.argv[1]])
"""


class Instance:
    """A process with a number of cores; works between `begin` and `end`."""

    def __init__(self, code: str, cores: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(cores)],
            env={"PYTHONPATH": str(BACKEND)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self) -> int:
        """The cores that it then uses."""
        return int(self._next())

    def end(self) -> None:
        assert self._next() == "idle\n"

    def _next(self) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


@pytest.fixture
def instance() -> Iterator[Callable[..., Instance]]:
    """Starts processes of this one; with `elsewhere`, of a process of its own."""
    started: list[Instance] = []

    def start(cores: int = 4, *, elsewhere: bool = False) -> Instance:
        started.append(Instance(FAMILY if elsewhere else INSTANCE, cores))
        return started[-1]

    yield start
    for each in started:
        assert each.process.stdin is not None
        assert each.process.stdout is not None
        each.process.stdin.close()
        each.process.wait(10)
        each.process.stdout.close()


def test_alone_an_instance_has_all_cores_and_beside_others_its_part(instance):
    instances = [instance() for _ in range(3)]
    assert [each.begin() for each in instances] == [4, 2, 1]
    for each in instances:
        each.end()
    assert instances[1].begin() == 4


def test_who_begins_later_than_others_ended_has_more(instance):
    first, second, third = (instance(6) for _ in range(3))
    assert (first.begin(), second.begin(), third.begin()) == (6, 3, 2)
    second.end()
    assert second.begin() == 2
    first.end()
    third.end()
    second.end()
    assert third.begin() == 6


def test_more_instances_than_cores_have_one_each(instance):
    assert [instance(2).begin() for _ in range(4)] == [2, 1, 1, 1]


def test_who_was_killed_at_work_no_longer_counts(instance):
    first, second = instance(), instance()
    first.begin()
    first.process.kill()
    first.process.wait(10)
    assert second.begin() == 4


def test_processes_of_another_triton_do_not_count(instance):
    here, there = instance(), instance(elsewhere=True)
    assert (there.begin(), here.begin()) == (4, 4)


def test_an_instance_that_may_not_read_its_executable_has_all_cores(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BACKEND))
    import clipserve_cores

    monkeypatch.setattr(clipserve_cores, "EXECUTABLE", tmp_path / "hidden")
    with clipserve_cores.SharedCores(4).at_work() as cores:
        assert cores == 4


def test_without_locks_an_instance_has_all_cores(monkeypatch):
    monkeypatch.syspath_prepend(str(BACKEND))
    import clipserve_cores

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    shared = clipserve_cores.SharedCores(4)
    monkeypatch.setattr(clipserve_cores.fcntl, "lockf", refuse)
    with shared.at_work() as cores:
        assert cores == 4


def test_a_failure_at_work_ends_it(monkeypatch, instance):
    monkeypatch.syspath_prepend(str(BACKEND))
    import clipserve_cores

    # So that this process passes for a child of the one whose children the instances are.
    monkeypatch.setattr(os, "getppid", os.getpid)
    shared = clipserve_cores.SharedCores(4)

    def fail() -> None:
        with shared.at_work():
            assert instance().begin() == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert instance().begin() == 2, "beside the one before, not beside this process"


@pytest.mark.parametrize(
    ("setting", "counts", "threads"),
    [
        ("0", [2], 0),
        ("3", [2], 3),
        ("split", [1], 5),
        ("split", [2], 2),
        ("split", [1, 2], 1),
        ("split", [9], 1),
    ],
)
def test_an_instance_has_the_threads_that_are_set_or_an_equal_part_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, setting: str, counts: list[int], threads: int
) -> None:
    import clipserve_cores

    monkeypatch.setattr(clipserve_cores, "granted_cores", lambda: 5)
    assert clipserve_cores.threads_of(setting, [{"count": count} for count in counts]) == threads


@pytest.mark.parametrize(("largest", "kept"), [(1, None), (16, None), (17, "0"), (64, "0")])
def test_scratch_memory_is_not_kept_for_many_batch_sizes(largest: int, kept: str | None) -> None:
    environment: dict[str, str] = {}
    bound_memory(largest, environment)
    assert environment.get("ONEDNN_PRIMITIVE_CACHE_CAPACITY") == kept
    environment = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "7"}
    bound_memory(largest, environment)
    assert environment == {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "7"}
