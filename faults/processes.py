"""A real Triton that is started, killed, stopped in its tracks and started again on its ports."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import time
from pathlib import Path

from clipserve_gateway.local.command import TritonPorts, arguments, environment
from clipserve_gateway.local.install import TritonInstall, assemble_backends, find_install
from clipserve_gateway.local.ports import free_ports
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from faults import ROOT
from testing.launch import launch

MODELS_ENV = ROOT / ".venv-models"
START_SECONDS = 120.0
SHARED_MEMORY = Path("/dev/shm")


@functools.lru_cache(maxsize=1)
def install() -> TritonInstall:
    """The Triton of the models' environment."""
    return find_install(MODELS_ENV)


class Triton:
    """A tritonserver on a repository, with the arguments and environment of `clipserve-gateway up`.

    Its ports stay the same over restarts.
    """

    def __init__(self, folder: Path, repository: Path, *options: str) -> None:
        """`options` come after those of `up`, and count more."""
        self._options = options
        self.ports = TritonPorts(*free_ports(0, 0, 0))
        self.address = f"127.0.0.1:{self.ports.grpc}"
        self.log = folder / f"triton-{self.ports.grpc}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self._repository = repository
        self._backends = assemble_backends(install(), folder)
        self._region = f"faults-{os.getpid()}-{self.ports.grpc}-"

    def start(self) -> float:
        """Starts it and waits until all models are ready; the moment that they were."""
        environ = environment(install())
        command = [install().binary, *arguments(self._repository, self._backends, self.ports)]
        command += [f"--backend-config=python,shm-region-prefix-name={self._region}", *self._options]
        # Bytecode in the repository would look like a changed model to a Triton that polls.
        environ["PYTHONDONTWRITEBYTECODE"] = "1"
        self.process = launch(command, log=self.log, cwd=ROOT, env=environ)
        return self._wait_ready()

    def _wait_ready(self) -> float:
        end = time.monotonic() + START_SECONDS
        with contextlib.closing(InferenceServerClient(self.address)) as client:
            while not self._ready(client):
                assert self.process is not None, "started"
                assert self.process.poll() is None, self.last_words()
                assert time.monotonic() < end, self.last_words()
                time.sleep(0.05)
        return time.monotonic()

    def _ready(self, client: InferenceServerClient) -> bool:
        models = [config.parent.name for config in self._repository.glob("*/config.pbtxt")]
        try:
            return all(client.is_model_ready(model, client_timeout=1.0) for model in models)
        except InferenceServerException:
            return False

    def executions(self, model: str) -> int:
        """Executions of one of its models so far."""
        with contextlib.closing(InferenceServerClient(self.address)) as client:
            statistics = client.get_inference_statistics(model, client_timeout=5.0).model_stats[0]
        return int(statistics.execution_count)

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self.process is not None, "started"
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and clears away the shared memory that it leaves."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        for left in SHARED_MEMORY.glob(f"{self._region}*"):
            left.unlink(missing_ok=True)

    def stop(self) -> None:
        """SIGTERM: it drains and ends."""
        assert self.process is not None, "started"
        self.process.terminate()
        self.process.wait(60)
        self.kill()
