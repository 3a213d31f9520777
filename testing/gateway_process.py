"""A gateway in a process of its own, as `clipserve-gateway serve` runs it, around a fake backend."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clipserve_gateway.lifecycle import manage_memory
from clipserve_gateway.process.memory import use_few_arenas
from clipserve_gateway.process.signals import stop_on_signals
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings

from testing.fakes import FakeBackend

ROOT = Path(__file__).parents[1]


@dataclass
class GatewayProcess:
    """Where it listens, and what it is."""

    pid: int
    port: int
    http_port: int
    api_port: int
    """0 unless the settings turn it on."""

    @property
    def rss(self) -> int:
        """Resident memory, in bytes."""
        return self._status("VmRSS")

    @property
    def peak(self) -> int:
        """The most it ever was, in bytes, since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Begins anew to look for the peak."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, field: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


@contextlib.contextmanager
def gateway_process(folder: Path, *settings: str, delay: float = 0.0) -> Iterator[GatewayProcess]:
    """Starts one and waits until it listens; `settings` are like `port=0`. Ends it."""
    command = [sys.executable, "-m", "testing.gateway_process", str(folder), str(delay), *settings]
    path = f"{ROOT}:{':'.join(sys.path)}"
    with open(folder / "gateway.log", "wb") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={"PYTHONPATH": path}, cwd=ROOT
        )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words, (folder / "gateway.log").read_text()
        yield GatewayProcess(process.pid, *map(int, words))
    finally:
        process.kill()
        process.wait()


async def serve(folder: str, delay: float, options: dict[str, str]) -> None:
    """Runs until a signal comes."""
    stop = stop_on_signals()
    backend = FakeBackend()
    backend.encoder.delay = delay
    settings = Settings(**({"port": 0, "http_port": 0, "data": f"{folder}/data"} | options))
    gateway = Gateway(settings, backend)
    await gateway.start()
    await gateway.begun()
    tending = asyncio.create_task(manage_memory(gateway))
    print(gateway.port, gateway.http_port, gateway.api_port, flush=True)
    await stop.wait()
    tending.cancel()


if __name__ == "__main__":
    use_few_arenas()
    asyncio.run(serve(sys.argv[1], float(sys.argv[2]), dict(word.split("=", 1) for word in sys.argv[3:])))
