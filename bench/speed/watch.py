"""What a system spends while it is measured."""

from __future__ import annotations

import os
import re
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DECODING = re.compile(r"^clipserve_decode_cpu_seconds_total (\S+)", re.MULTILINE)
STAGE = re.compile(r'^clipserve_stage_seconds_sum\{stage="(\w+)"\} (\S+)', re.MULTILINE)
CALLS = re.compile(r"^clipserve_request_seconds_sum\{[^}]*\} (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Watched:
    """Processes by name, and where a gateway among them tells its metrics."""

    pids: Mapping[str, Sequence[int]] = field(default_factory=dict)
    metrics: str = ""

    def cpu(self) -> dict[str, float]:
        """CPU seconds of each process, and of the gateway's decoding."""
        found = {name: sum(map(cpu_seconds, pids)) for name, pids in self.pids.items()}
        if match := DECODING.search(self._text()):
            found["decoding"] = float(match[1])
        return found

    def stages(self) -> dict[str, float]:
        """Seconds that calls spent in each stage of the gateway, and in all."""
        text = self._text()
        found = {stage: float(seconds) for stage, seconds in STAGE.findall(text)}
        return found | ({"all": sum(map(float, CALLS.findall(text)))} if text else {})

    def _text(self) -> str:
        if not self.metrics:
            return ""
        with urllib.request.urlopen(self.metrics, timeout=10) as answer:
            return str(answer.read(), "utf-8")


class Meter:
    """What is spent while inside: seconds of the processor, and of the calls in each stage."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self.cpu: dict[str, float] = {}
        self.stages: dict[str, float] = {}

    def __enter__(self) -> Meter:
        self._before = self._watched.cpu(), self._watched.stages()
        return self

    def __exit__(self, *_: object) -> None:
        cpu, stages = self._before
        self.cpu = {name: value - cpu[name] for name, value in self._watched.cpu().items()}
        self.stages = {name: value - stages.get(name, 0.0) for name, value in self._watched.stages().items()}


def idle_shares(watched: Watched, settle: float, seconds: float) -> dict[str, float]:
    """Of one core, what each process takes while nobody calls, 0–1: after so long, for so long."""
    time.sleep(settle)
    begin = time.monotonic()
    with Meter(watched) as meter:
        time.sleep(seconds)
    return {name: spent / (time.monotonic() - begin) for name, spent in meter.cpu.items()}


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, its ended children not counted."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
