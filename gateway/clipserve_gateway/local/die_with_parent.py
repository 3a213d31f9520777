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
"""Executes a program that the kernel ends when its parent ends, even by SIGKILL.

A small program rather than code between fork and exec, which can hang in a process with gRPC's threads.
"""


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> list[str]:
    """The words to put before a command so that the kernel sends it `number` when this process ends."""
    return [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid()), str(int(number))]
