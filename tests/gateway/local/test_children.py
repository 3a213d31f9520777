"""Children of a Triton that have ended are told, with the signal that ended them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from clipserve_gateway.local.children import ended_children, lacks_address_space, lacks_avx2, oom_kills


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


def test_children_that_have_ended_tell_how_until_they_are_collected() -> None:
    codes = {-9: "import os; os.kill(os.getpid(), 9)", 3: "raise SystemExit(3)"}
    children = {
        subprocess.Popen([sys.executable, "-S", "-c", code]).pid: expected for expected, code in codes.items()
    }
    end = time.monotonic() + 10
    while not (found := ended_children(os.getpid())).keys() >= children.keys():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert found.items() >= children.items()
    for pid in children:
        os.waitpid(pid, 0)
    assert not ended_children(os.getpid()).keys() & children.keys()


def test_what_the_kernel_tells_of_memory_and_processor_is_read(tmp_path: Path) -> None:
    assert (oom_kills(tmp_path), lacks_avx2(tmp_path)) == (0, False)
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 3\n")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu sse4_2 avx\n")
    assert (oom_kills(tmp_path), lacks_avx2(tmp_path)) == (3, True)
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu avx avx2\n")
    assert not lacks_avx2(tmp_path)


def test_a_process_near_its_limit_of_address_space_has_no_room_for_a_thread(tmp_path: Path) -> None:
    assert not lacks_address_space(7, tmp_path), "it has ended"
    (tmp_path / "7").mkdir()
    limits, status = tmp_path / "7" / "limits", tmp_path / "7" / "status"
    status.write_text("Name:\tx\nVmPeak:\t 1493448 kB\nVmSize:\t 1493448 kB\n")
    line = "Max stack size            8388608              unlimited            bytes\n"
    for space, lacks in (("1536000000", True), ("1600000000", False), ("unlimited", False)):
        limits.write_text(f"{line}Max address space         {space}           unlimited            bytes\n")
        assert lacks_address_space(7, tmp_path) == lacks
    assert not lacks_address_space(os.getpid())
