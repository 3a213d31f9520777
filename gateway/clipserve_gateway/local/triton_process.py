"""One tritonserver process: starts, watches and stops it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
import tempfile
from pathlib import Path

from clipserve_gateway.local.children import ended_children, lacks_address_space, lacks_avx2, oom_kills
from clipserve_gateway.local.command import TritonPorts, arguments, environment
from clipserve_gateway.local.diagnosis import Diagnosis, Evidence, diagnose
from clipserve_gateway.local.die_with_parent import die_with_parent
from clipserve_gateway.local.install import TritonInstall
from clipserve_gateway.local.load_progress import LoadProgress
from clipserve_gateway.local.run_folder import RunFolder, lay_out
from clipserve_gateway.local.triton_log import TritonLog
from clipserve_gateway.triton.model_config import is_tower, model_name

STOP_SECONDS = 15.0
SHARED_MEMORY = Path("/dev/shm")
LAST_WORDS = 12
"""Lines of the log that are shown when Triton fails."""
LAST_WORDS_OF_A_START = 5
"""Lines of the log that are shown when Triton does not start for an unknown reason."""
READ_BYTES = 1 << 20
"""Bytes at the end of the log that are read to find out why Triton failed."""
HARMLESS = "CudaDriverHelper has not been initialized"
"""From a line that Triton logs as an error on every machine without a GPU."""
FAILED_LOAD = re.compile(r"failed to load '([^']+)' version \d+:")


class TritonFailed(Exception):
    """Triton ended or did not start; the message has the reason and the remedy."""

    def __init__(self, message: str, diagnosis: Diagnosis | None = None) -> None:
        super().__init__(message)
        self.diagnosis = diagnosis

    @property
    def may_pass(self) -> bool:
        """Whether the same start may succeed when it is tried again."""
        return self.diagnosis is not None and self.diagnosis.transient


class TritonProcess:
    """A tritonserver on 127.0.0.1 that ends when this process ends. It can be started again."""

    def __init__(
        self,
        install: TritonInstall,
        repository: Path,
        ports: TritonPorts,
        folder: tempfile.TemporaryDirectory[str],
        log: TritonLog,
    ) -> None:
        """Owns the folder that Triton runs from, and the log; `stop` releases both."""
        self._install = install
        self._repository = repository
        self.ports = ports
        self._folder = folder
        self._shared_memory = Path(self._folder.name).name + "-"
        """Prefix of the names of its shared memory."""
        self._log = log
        self._log_start = 0
        """Offset in the log where the lines of this process start."""
        self._runs: RunFolder | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._progress: LoadProgress | None = None
        self._oom_kills = oom_kills()
        """Count of this machine when the process was started."""
        self._stub_codes: dict[int, int] = {}
        self._has_failed = False
        self._cleared = True
        """Nothing is left of the process; another process may get its pid."""

    @property
    def log(self) -> Path:
        """The file of the log."""
        return self._log.path

    @property
    def pid(self) -> int:
        """0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def address(self) -> str:
        """The gRPC address, HOST:PORT."""
        return f"127.0.0.1:{self.ports.grpc}"

    async def start(self) -> None:
        """Starts the process, also after it has ended. Does not wait until Triton is ready.

        Raises TritonFailed if the repository has no models, OSError if the process cannot be started.
        """
        if not any(self._repository.glob("*/config.pbtxt")):
            raise TritonFailed(f"{self._repository} has no models; export one with `clipserve-export`")
        if self._runs is None:
            folder = Path(self._folder.name)
            self._runs = await asyncio.to_thread(lay_out, self._install, self._repository, folder)
        # A process that is started again has failed before.
        self._has_failed |= self._process is not None
        self._stub_codes, self._oom_kills = {}, oom_kills()
        with self.log.open("ab" if self._process else "wb") as log:
            self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *die_with_parent(),
                self._install.binary,
                *arguments(self._runs.models, self._runs.backends, self.ports),
                f"--backend-config=python,shm-region-prefix-name={self._shared_memory}",
                env=environment(self._runs.install),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C must not reach Triton before the calls under way have ended.
                start_new_session=True,
            )
            self._cleared = False
        self._progress = LoadProgress(self.pid, self._towers(), self.log, self._log_start)

    @property
    def progress(self) -> LoadProgress:
        """How far the process is that was started last."""
        assert self._progress is not None, "started"
        return self._progress

    def _towers(self) -> set[str]:
        """The towers in the repository."""
        names = {config.parent.name for config in self._repository.glob("*/config.pbtxt")}
        return {name for name in names if is_tower(name)}

    async def wait(self) -> int:
        """Waits until the process has ended; returns its exit code."""
        assert self._process is not None, "started"
        return await self._process.wait()

    def lost_stubs(self) -> dict[int, int]:
        """Exit codes, by pid, of Python stubs that have ended and that Triton has not noticed yet."""
        lost = ended_children(self.pid) if self.pid else {}
        self._stub_codes |= lost
        return lost

    def lacks_address_space(self) -> bool:
        """Whether Triton has no address space left for another thread."""
        return bool(self.pid) and lacks_address_space(self.pid)

    def has_lost_all(self) -> bool:
        """Whether, by the log, Triton has failed to load a tower of every model in the repository."""
        models = {model_name(tower) for tower in self._towers()}
        failed = {model_name(tower) for tower in FAILED_LOAD.findall(self._words()) if is_tower(tower)}
        return bool(models) and models <= failed

    def diagnose(self, exit_code: int | None, symptom: str) -> Diagnosis:
        """Why Triton failed.

        `exit_code` is None if Triton did not end by itself; `symptom` says what is wrong with its models.
        """
        self._has_failed = True
        shared = os.statvfs(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None
        # A Triton that exits by itself ends its stubs: their codes say nothing.
        orderly = exit_code is not None and exit_code >= 0
        codes = [code for code in self._stub_codes.values() if code and not orderly]
        evidence = Evidence(
            exit_code=exit_code,
            stub_code=codes[0] if codes else None,
            oom_kills=oom_kills() - self._oom_kills,
            no_avx2=lacks_avx2(),
            shared_memory=shared.f_blocks * shared.f_frsize if shared else None,
            open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            symptom=self._in_users_words(symptom),
        )
        return diagnose(self._words(), evidence)

    def _words(self) -> str:
        """The end of this process's log, with paths as the user knows them."""
        with self.log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - READ_BYTES))
            return self._in_users_words(log.read().decode(errors="replace"))

    def _in_users_words(self, text: str) -> str:
        """The text with the targets of the links in the run folder."""
        folder = self._folder.name
        text = text.replace(f"{folder}/models", str(self._repository.absolute()))
        return text.replace(f"{folder}/env", str(self._install.models_env))

    def last_words(self, lines: int = LAST_WORDS) -> str:
        """The last lines of this process's log: its errors if there are any."""
        words = [line for line in self._words().splitlines() if HARMLESS not in line]
        errors = [line for line in words if re.match(r"E\d{4} ", line) or "error" in line.lower()]
        # Tables of settings start with these characters.
        plain = [line for line in words if line and not line.startswith(("|", "+"))]
        return "\n".join((errors or plain)[-lines:])

    async def stop(self) -> None:
        """Ends the process by SIGTERM, or SIGKILL after STOP_SECONDS. It cannot be started again."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
        await self.kill()
        self._folder.cleanup()
        self._log.close(keep=self._has_failed)

    async def kill(self) -> None:
        """Ends the process at once, and removes its children and shared memory."""
        if self._process is None or self._cleared:
            return
        self._cleared = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await asyncio.to_thread(remove_shared_memory, self._shared_memory)


def remove_shared_memory(prefix: str) -> None:
    """Removes the shared memory that a killed Triton has left."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
