"""Programs that end with the process that started them."""

from __future__ import annotations

import os
import signal
import sys

DIE_WITH_PARENT = """
import ctypes, os, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(sys.argv[2]))
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[3], sys.argv[3:])
"""
"""Becomes the program it is given, which the kernel ends with its parent, even one that SIGKILL ended.

Not code between fork and exec: there, in a process of many threads that speak gRPC, anything may hang.
"""


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> list[str]:
    """What to put before a command, so that the kernel ends it with this process, by that signal."""
    return [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid()), str(int(number))]
