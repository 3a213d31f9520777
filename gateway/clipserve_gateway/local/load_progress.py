"""How far a Triton is that loads its models: by its log, and by the work of its processes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection
from pathlib import Path

from clipserve_gateway.process.listeners import process_ids, stat_fields
from clipserve_gateway.process.safe_text import safe_lines
from clipserve_gateway.triton.model_config import is_tower, model_name
from clipserve_gateway.triton.unready import FAILED_LOAD

PROC = Path("/proc")
GROUP, CPU_TIMES = 2, slice(11, 13)
"""Fields of /proc/PID/stat, as `stat_fields` counts them: process group, user and system time in ticks."""
BUSY = 0.05
"""A Triton works if its processes use this part of one core, or read BUSY_BYTES from a disk."""
BUSY_BYTES = 1 << 20
TOLD_SECONDS = 15.0
"""After this time without news the user is told what still loads."""
LONGEST_REASON = 200
"""Characters of Triton's reason why it cannot load a model."""
EVENT = re.compile(
    r"TRITONBACKEND_ModelInstanceInitialize: (?P<instance>\S+?)(?:_\d+)* \("
    r"|successfully loaded '(?P<loaded>[^']+)'"
    r"|failed to load '(?P<failed>[^']+)' version \d+: (?P<reason>[^\n\"\\]*)"
)


class LoadProgress:
    """The load of one Triton process, from its start on."""

    def __init__(
        self,
        pid: int,
        towers: Collection[str],
        log: Path,
        start: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        proc: Path = PROC,
    ) -> None:
        """`towers` are those in the repository. The log of this process starts at an offset in its file."""
        self._pid = pid
        self._log = log
        self._offset = start
        self._clock = clock
        self._proc = proc
        self._models = sorted({model_name(tower) for tower in towers if is_tower(tower)})
        self._missing = {tower for tower in towers if is_tower(tower)}
        """Towers that are neither loaded nor failed."""
        self._told: set[str] = set()
        """Models that are loaded or failed, as the user knows."""
        self._failures: dict[str, str] = {}
        self._at_work: str = ""
        """The tower that Triton loads now; empty if not known."""
        self._begin = self._progress_at = self._told_at = clock()
        self._cpu, self._read = work_of(pid, proc)

    @property
    def idle_seconds(self) -> float:
        """Time since the last progress."""
        return self._clock() - self._progress_at

    @property
    def loading(self) -> str:
        """The tower that Triton loads now, or those that it has not loaded yet."""
        return self._at_work or ", ".join(sorted(self._missing)) or "its models"

    def look(self) -> list[str]:
        """Reads what is new; returns lines for the user."""
        now = self._clock()
        if self._read_log() | self._has_worked(now):
            self._progress_at = now
        lines = [] if len(self._models) == 1 else list(self._changes())
        if lines:
            self._told_at = now
        elif now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            idle = now - self._progress_at
            waits = f", without progress for {idle:.0f} s" if idle >= TOLD_SECONDS else ""
            lines = [f"· after {now - self._begin:.0f} s Triton still loads {self.loading}{waits}"]
        return [safe_lines(line) for line in lines]

    def _read_log(self) -> bool:
        """Takes the new lines of the log into account; false if there are none."""
        with self._log.open("rb") as log:
            log.seek(self._offset)
            new = log.read()
        # The last line may be incomplete.
        new = new[: new.rfind(b"\n") + 1]
        self._offset += len(new)
        for event in EVENT.finditer(new.decode(errors="replace")):
            if event["instance"]:
                self._at_work = event["instance"]
                continue
            tower = event["loaded"] or event["failed"]
            self._missing.discard(tower)
            self._at_work = "" if tower == self._at_work else self._at_work
            if event["failed"]:
                self._failures.setdefault(model_name(tower), f"{FAILED_LOAD} {tower}: {event['reason']}")
        return bool(new)

    def _has_worked(self, now: float) -> bool:
        """Whether the processes have worked since the last progress."""
        cpu, read = work_of(self._pid, self._proc)
        worked = cpu - self._cpu >= BUSY * max(now - self._progress_at, 1.0)
        if worked or read - self._read >= BUSY_BYTES:
            self._cpu, self._read = cpu, read
            return True
        return False

    def _changes(self) -> list[str]:
        """A line for each model that has been loaded, or cannot be loaded."""
        missing = {model_name(tower) for tower in self._missing}
        lines = []
        for model in self._models:
            done = model in self._failures or model not in missing
            if not done or model in self._told:
                continue
            self._told.add(model)
            count = f"({len(self._told)} of {len(self._models)})"
            if model in self._failures:
                lines.append(f"✗ model {model}: {self._failures[model][:LONGEST_REASON]} {count}")
            else:
                lines.append(f"· model {model} is loaded {count}")
        return lines


def work_of(group: int, proc: Path = PROC) -> tuple[float, int]:
    """CPU seconds that the processes of a group have used, and bytes that they have read from disks."""
    ticks = read = 0
    for pid in process_ids(proc):
        fields = stat_fields(pid, proc)
        if not fields or fields[GROUP] != str(group):
            continue
        ticks += sum(map(int, fields[CPU_TIMES]))
        try:
            match = re.search(r"^read_bytes: (\d+)", (proc / str(pid) / "io").read_text(), re.MULTILINE)
        except OSError:
            match = None
        read += int(match[1]) if match else 0
    return ticks / os.sysconf("SC_CLK_TCK"), read
