"""The gateway that is fuzzed: its own process, its memory, its log."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from testing.service import start

MIB = 1 << 20
WORDS = ("Traceback (most recent call last)", '"traceback"', '"level": "ERROR"', '"level": "CRITICAL"')
"""What must not be in a log."""
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Nor these characters: they may change what a terminal shows."""


@dataclass
class Target:
    """A gateway; what is not known of one that others started stays empty."""

    address: str
    pid: int = 0
    api: str = ""
    """URL of its HTTP API."""
    log: Path | None = None
    readings: list[int] = field(default_factory=list)
    """Its resident memory in bytes, once a second."""

    def __post_init__(self) -> None:
        self._born = self._started()

    def _started(self) -> str:
        """When the process was started, in the kernel's count; empty if it is gone."""
        try:
            return (
                Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[19] if self.pid else ""
            )
        except OSError:
            return ""

    @property
    def is_the_same(self) -> bool:
        """Whether the process that was there at first is there."""
        return bool(self._born) and self._started() == self._born

    def memory(self, name: str) -> int:
        """VmRSS, resident now, or VmHWM, at most so far: bytes."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except OSError:
            return 0
        return 1024 * next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)

    async def watch(self) -> None:
        """Reads the memory for ever."""
        while self.pid:
            self.readings.append(self.memory("VmRSS"))
            await asyncio.sleep(1)

    def errors(self) -> list[str]:
        """Lines of its log that tell of a fault."""
        if self.log is None:
            return []
        lines = self.log.read_bytes().decode(errors="replace").split("\n")
        return [line for line in lines if any(word in line for word in WORDS) or CONTROLS.search(line)]


@contextlib.contextmanager
def own(folder: Path, *options: str) -> Iterator[Target]:
    """Triton and a gateway as `clipserve-gateway up` runs them, stopped at the end."""
    service = start(folder, *options)
    try:
        yield Target(service.address, service.process.pid, service.api, service.log)
    finally:
        service.stop()
