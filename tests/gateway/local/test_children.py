"""Children of a Triton that have ended are told, with the signal that ended them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from clipserve_gateway.local.children import ended_children


def process(proc: Path, pid: int, state: str, parent: int, status: int = 0) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "stat").write_text(f"{pid} (a ) name) {state} {parent} 0 {status}\n")


def test_a_child_that_was_killed_is_told_with_its_signal(tmp_path: Path) -> None:
    process(tmp_path, 10, "S", 1)
    process(tmp_path, 11, "Z", 10, signal.SIGKILL)
    process(tmp_path, 12, "S", 10)
    process(tmp_path, 13, "Z", 99, signal.SIGSEGV)
    assert ended_children(10, tmp_path) == {11: -signal.SIGKILL}


def test_the_children_of_a_parent_that_is_stopped_are_not_told(tmp_path: Path) -> None:
    process(tmp_path, 10, "T", 1)
    process(tmp_path, 11, "Z", 10, 1 << 8)
    assert ended_children(10, tmp_path) == {}


def test_a_process_that_ends_meanwhile_is_passed_over(tmp_path: Path) -> None:
    process(tmp_path, 10, "S", 1)
    (tmp_path / "11").mkdir()
    assert ended_children(10, tmp_path) == {}


def test_a_real_child_is_found_before_it_is_collected() -> None:
    code = (
        "import subprocess, sys, time; child = subprocess.Popen(['sh', '-c', 'exit 7']); "
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        while not (found := ended_children(parent.pid)):
            pass
        parent.kill()
    assert found == {child: 7}
