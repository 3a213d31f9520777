"""A running `clipserve-gateway guard`, and what it says of a Triton."""

from __future__ import annotations

import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from testing.service import BIN, ROOT, START_SECONDS


@dataclass
class Guard:
    """Watches some Triton."""

    process: subprocess.Popen[bytes]
    log: Path
    http: str

    @property
    def words(self) -> str:
        """What it has logged so far."""
        return self.log.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        try:
            with urllib.request.urlopen(self.http + path, timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def becomes(self, path: str, status: int, seconds: float = START_SECONDS) -> str:
        """Waits until a page has that status; its text then."""
        end = time.monotonic() + seconds
        while (found := self.get(path))[0] != status:
            assert time.monotonic() < end, f"{path} is {found}, not {status}; its log:\n{self.words}"
            time.sleep(0.05)
        return found[1]

    def metric(self, sample: str) -> float:
        """A metric's value; 0 if there is no such sample."""
        found = re.search(rf"^{re.escape(sample)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    def tells(self, sample: str, value: float, seconds: float = 5.0) -> None:
        """Waits until a metric has that value: it is told a moment after the pages change."""
        end = time.monotonic() + seconds
        while (found := self.metric(sample)) != value:
            assert time.monotonic() < end, f"{sample} is {found}, not {value}; its log:\n{self.words}"
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def start_guard(triton: str, folder: Path, *options: str) -> Guard:
    """Starts one that looks often, and waits until it has probes to answer."""
    log = folder / "guard.log"
    command = [BIN / "clipserve-gateway", "guard", "--triton", triton, "--http-port", "0"]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--canary-seconds", "0.3", *options], cwd=ROOT, stdout=file, stderr=file
        )
    end = time.monotonic() + START_SECONDS
    while not (found := re.search(r"probes on ([\d.]+:\d+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    return Guard(process, log, f"http://{found[1]}")
