"""What the kernel knows about Triton and its children: exit codes, and limits of memory and processor."""

from __future__ import annotations

import os
import re
from pathlib import Path

from clipserve_gateway.process.listeners import process_ids, stat_fields

PROC = Path("/proc")
OOM_KILLS = "oom_kill "
USUAL_STACK = 2 << 20
"""Bytes of a thread's stack without a limit (glibc)."""


def ended_children(parent: int, proc: Path = PROC) -> dict[int, int]:
    """Exit codes, by pid, of children that have ended and that the parent has not collected yet.

    A negative code is a signal. Empty for a parent that is stopped: it collects no children, and Triton's
    stubs end by themselves when Triton is silent.
    """
    if stat_fields(parent, proc)[:1] in (["T"], ["t"]):
        return {}
    codes = {}
    for pid in process_ids(proc):
        fields = stat_fields(pid, proc)
        if fields and fields[0] == "Z" and int(fields[1]) == parent:
            codes[pid] = os.waitstatus_to_exitcode(int(fields[-1]))
    return codes


def oom_kills(proc: Path = PROC) -> int:
    """Processes that the kernel has killed because memory ran out, since boot; 0 if not known."""
    try:
        lines = (proc / "vmstat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(OOM_KILLS))


def lacks_avx2(proc: Path = PROC) -> bool:
    """Whether this machine's processor is known to have no AVX2."""
    try:
        flags = [line for line in (proc / "cpuinfo").read_text().splitlines() if line.startswith("flags")]
    except OSError:
        return False
    return bool(flags) and "avx2" not in flags[0].split()


def lacks_address_space(pid: int, proc: Path = PROC) -> bool:
    """Whether a process's limit on address space leaves no room for the stack of another thread."""
    try:
        limits = (proc / str(pid) / "limits").read_text()
        status = (proc / str(pid) / "status").read_text()
    except OSError:
        return False
    space = re.search(r"^Max address space +(\d+)", limits, re.MULTILINE)
    stack = re.search(r"^Max stack size +(\d+)", limits, re.MULTILINE)
    used = re.search(r"^VmSize:\s*(\d+) kB", status, re.MULTILINE)
    if not space or not used:
        return False
    return int(used[1]) * 1024 + (int(stack[1]) if stack else USUAL_STACK) > int(space[1])
