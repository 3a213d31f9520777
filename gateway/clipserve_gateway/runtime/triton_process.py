"""One tritonserver process: started, watched, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

from clipserve_gateway.runtime.ending import die_with_parent
from clipserve_gateway.runtime.install import TritonInstall, assemble_backends
from clipserve_gateway.settings import host_environment

STOP_SECONDS = 15.0
SHARED_MEMORY = Path("/dev/shm")
LARGE_PAGES = "glibc.malloc.hugetlb=1"
"""Tunable of glibc: large pages for weights and activations give a CPU 10–20 % more images a second."""
LAST_WORDS = 12
"""Lines of Triton's log that are shown when it fails."""
HARMLESS = "CudaDriverHelper has not been initialized"
"""Of a line that Triton logs as an error on every machine without a GPU."""


class TritonFailed(Exception):
    """Triton ended, or did not begin; the message carries its last words."""


@dataclass(frozen=True)
class TritonPorts:
    """Ports on 127.0.0.1."""

    grpc: int
    http: int
    metrics: int


class TritonProcess:
    """A tritonserver on 127.0.0.1 that ends with the process that started it; it may be started again."""

    def __init__(
        self, install: TritonInstall, repository: Path, ports: TritonPorts, log: Path | None = None
    ) -> None:
        self._install = install
        self._repository = repository
        self.ports = ports
        self._folder = tempfile.TemporaryDirectory(prefix="clipserve-triton-")
        self._shared_memory = Path(self._folder.name).name + "-"
        """What the names of its regions begin with."""
        self.log = log or Path(self._folder.name) / "triton.log"
        self._log_start = 0
        """Where in the log this process's own words begin."""
        self._backends: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._cleared = True
        """Nothing is left of the process. Its number may be another's soon."""

    @property
    def pid(self) -> int:
        """The process's id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def address(self) -> str:
        """Where it speaks gRPC."""
        return f"127.0.0.1:{self.ports.grpc}"

    async def start(self) -> None:
        """Starts the process, anew if it has ended; does not wait until it is ready."""
        if not any(self._repository.glob("*/config.pbtxt")):
            raise TritonFailed(f"{self._repository} holds no models; write some with `clipserve-export`")
        if self._backends is None:
            self._backends = await asyncio.to_thread(
                assemble_backends, self._install, Path(self._folder.name)
            )
        with self.log.open("ab" if self._process else "wb") as log:
            self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *die_with_parent(),
                self._install.binary,
                *arguments(self._repository, self._backends, self.ports),
                f"--backend-config=python,shm-region-prefix-name={self._shared_memory}",
                env=environment(self._install),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A Ctrl-C meant for us must not reach Triton before our calls are drained.
                start_new_session=True,
            )
            self._cleared = False

    async def wait(self) -> int:
        """Waits until the process has ended; its exit code."""
        assert self._process is not None, "started"
        return await self._process.wait()

    def last_words(self) -> str:
        """The end of this process's log, errors first if there are any."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        lines = [line for line in lines if HARMLESS not in line]
        errors = [line for line in lines if re.match(r"E\d{4} ", line) or "error" in line.lower()]
        # The rest are tables of settings.
        plain = [line for line in lines if line and not line.startswith(("|", "+"))]
        return "\n".join((errors or plain)[-LAST_WORDS:])

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for a process that does not end within seconds. Not to be started again."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
        await self.kill()
        self._folder.cleanup()

    async def kill(self) -> None:
        """Ends the process at once, and whatever it leaves behind: its children, and shared memory."""
        if self._process is None or self._cleared:
            return
        self._cleared = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await asyncio.to_thread(remove_shared_memory, self._shared_memory)


def remove_shared_memory(prefix: str) -> None:
    """Removes the regions that a Triton which was killed could not."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def arguments(repository: Path, backends: Path, ports: TritonPorts) -> list[str]:
    """Triton's command line. One bad model does not stop it, and models may be added while it runs."""
    return [
        f"--model-repository={repository.absolute()}",
        f"--backend-directory={backends}",
        "--model-control-mode=poll",
        "--repository-poll-secs=5",
        # One after the other: Python models that are loaded by several threads at once crash now and then.
        # On a machine busy with another server 4 of 15 starts of four towers did; this way, none of 20.
        "--model-load-thread-count=1",
        "--exit-on-error=false",
        "--strict-readiness=false",
        "--disable-auto-complete-config",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={ports.grpc}",
        "--http-address=127.0.0.1",
        f"--http-port={ports.http}",
        "--metrics-address=127.0.0.1",
        f"--metrics-port={ports.metrics}",
        "--allow-gpu-metrics=false",
        # The gateway pings every 10 s; by default Triton takes that for an attack.
        "--grpc-http2-min-recv-ping-interval-without-data=5000",
        "--exit-timeout-secs=10",
    ]


def environment(install: TritonInstall) -> dict[str, str]:
    """The environment of the server and of the Python stubs it starts.

    The stub takes the packages of the `python3` that it finds first on PATH.
    """
    inherited = host_environment()
    libraries = [str(path) for path in install.library_path]
    libraries += [inherited["LD_LIBRARY_PATH"]] if inherited.get("LD_LIBRARY_PATH") else []
    return inherited | {
        "LD_LIBRARY_PATH": ":".join(libraries),
        "PATH": f"{install.models_env / 'bin'}:{inherited.get('PATH', '')}",
        "VIRTUAL_ENV": str(install.models_env),
        # OpenMP threads that spin while they wait cost 2–4 times on shared cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        "GLIBC_TUNABLES": inherited.get("GLIBC_TUNABLES", LARGE_PAGES),
    }
