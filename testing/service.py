"""The real thing for tests: tritonserver and gateway as `clipserve-gateway up` runs them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testing.launch import launch

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
FREE_PORTS = tuple(
    word
    for name in ("port", "http-port", "api-port", "triton-port", "triton-http-port", "triton-metrics-port")
    for word in (f"--{name}", "0")
)
START_SECONDS = 300.0
LISTENING = re.compile(r"listening on ([\d.]+:\d+),.* metrics on port (\d+)")


@dataclass
class Service:
    """A running `clipserve-gateway up`."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def words(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def announced(self, pattern: str) -> str:
        """What it announced of itself."""
        found = re.search(pattern, self.words)
        assert found, f"{pattern!r} in:\n{self.words}"
        return found.group(1)

    @property
    def address(self) -> str:
        """The gateway's gRPC address."""
        return self.announced(r"gateway on (\S+),")

    @property
    def http(self) -> str:
        """The gateway's HTTP address, with scheme."""
        return self.announced(r"metrics on (\S+)/metrics")

    @property
    def api(self) -> str:
        """Address of the API port, with scheme."""
        return self.announced(r"HTTP API on (\S+)")

    @property
    def triton(self) -> str:
        """Triton's gRPC address."""
        return "127.0.0.1:" + self.announced(r"Triton on 127.0.0.1: gRPC (\d+)")

    @property
    def triton_pid(self) -> int:
        """The process of the Triton that was started last."""
        return self.triton_pids[-1]

    @property
    def triton_pids(self) -> list[int]:
        """Every Triton that was started, in order."""
        return [int(it) for it in re.findall(r"Triton \(pid (\d+)\) loads", self.words)]

    def says(self, pattern: str, seconds: float = START_SECONDS) -> bool:
        """Waits until it has printed something."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.words):
            if time.monotonic() > end or self.process.poll() is not None:
                return False
            time.sleep(0.05)
        return True

    def stop(self) -> int:
        """SIGTERM, unless it has ended; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass
class Gateway:
    """A running `clipserve-gateway serve`, beside a Triton of others."""

    process: subprocess.Popen[bytes]
    address: str
    http: str
    """Address of the HTTP port, with scheme."""
    log: Path

    @property
    def port(self) -> int:
        """The gRPC port."""
        return int(self.address.rpartition(":")[2])

    @property
    def api(self) -> str:
        """Address of the API port, with scheme."""
        end = time.monotonic() + START_SECONDS
        while not (found := re.search(r"HTTP API on (http[^\s\"]+)", self.log.read_text())):
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)
        return found[1]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def start_gateway(
    triton: str,
    data: str,
    folder: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    program: Sequence[str | Path] = (BIN / "clipserve-gateway",),
) -> Gateway:
    """Starts a gateway of its own on free ports, unless told others, and waits until it listens.

    Its log is in `folder`; so may those of earlier ones be.
    """
    log = folder / "gateway.log"
    log.touch()
    begin = log.stat().st_size
    command = [*program, "serve", "--triton", triton, "--data", data]
    command += ["--port", "0", "--http-port", "0", "--drain-seconds", "0", *options]
    process = launch(command, log=log, cwd=ROOT, env=env)
    end = time.monotonic() + START_SECONDS
    while not (found := LISTENING.search(log.read_bytes()[begin:].decode(errors="replace"))):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    return Gateway(process, found[1], f"http://127.0.0.1:{found[2]}", log)


def stub_of(triton: int, tower: str) -> int:
    """A process in which Triton's Python backend runs a tower."""
    return stubs_of(triton, tower)[0]


def stubs_of(triton: int, tower: str) -> list[int]:
    """The processes in which Triton's Python backend runs a tower: one for each instance."""
    lists = Path(f"/proc/{triton}/task").glob("*/children")
    children = [int(child) for children in lists for child in children.read_text().split()]
    found = [it for it in children if f"/{tower}/" in Path(f"/proc/{it}/cmdline").read_text()]
    assert found, f"{tower} has no process"
    return found


def start(
    folder: Path, *options: str, repository: Path | None = None, env: Mapping[str, str] | None = None
) -> Service:
    """Starts Triton and the gateway on free ports and waits until they are ready.

    Args:
        env: on top of this process's own.
    """
    log = folder / "up.log"
    command = [BIN / "clipserve-gateway", "up", *FREE_PORTS, "--data", folder / "data"]
    command += ["--model-repository", repository or ROOT / "build" / "model_repository", *options]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, env=os.environ | dict(env or {})
        )
    service = Service(process, log)
    end = time.monotonic() + START_SECONDS
    while "ready after" not in service.words:
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError(f"the service did not start:\n{service.words}")
        time.sleep(0.1)
    return service
