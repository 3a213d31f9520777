"""A real tritonserver from the nvidia-pytriton package, for tests that run in the models' environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from clipserve_gateway.local.command import environment
from clipserve_gateway.local.install import find_install
from clipserve_gateway.local.ports import free_ports
from clipserve_gateway.local.run_folder import lay_out
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

START_SECONDS = 120.0
COUNT_SECONDS = 5.0


class TritonServer:
    """One tritonserver on a repository, from this environment and laid out as `clipserve-gateway up` does."""

    def __init__(self, repository: Path, folder: Path) -> None:
        run = lay_out(find_install(Path(sys.prefix)), repository, folder)
        self.log = folder / "triton.log"
        self.url = f"127.0.0.1:{free_ports(0)[0]}"
        self._repository = repository
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    run.install.binary,
                    f"--model-repository={run.models}",
                    f"--backend-directory={run.backends}",
                    "--exit-on-error=false",
                    "--strict-readiness=false",
                    "--disable-auto-complete-config",
                    "--allow-http=false",
                    "--allow-metrics=false",
                    "--grpc-address=127.0.0.1",
                    f"--grpc-port={self.url.split(':')[1]}",
                ],
                env=environment(run.install, os.environ),
                stdout=log,
                stderr=log,
            )
        self.client = InferenceServerClient(self.url)

    def wait_ready(self) -> None:
        """Waits until every model of the repository is ready; fails with Triton's log."""
        models = [config.parent.name for config in self._repository.glob("*/config.pbtxt")]
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if all(self.client.is_model_ready(model) for model in models):
                    return
            except InferenceServerException:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{models} are not ready:\n{self.log.read_text(errors='replace')[-4000:]}")

    def infer(self, model: str, rows: Any, timeout: float = 60.0) -> Any:
        """uint8 or int32 [b, …] → float32 [b, D]."""
        tensor = InferInput("INPUT__0", list(rows.shape), "UINT8" if rows.dtype == np.uint8 else "INT32")
        tensor.set_data_from_numpy(np.ascontiguousarray(rows))
        return self.client.infer(model, [tensor], client_timeout=timeout).as_numpy("OUTPUT__0")

    def counts(self, model: str, inferences: int = 0) -> tuple[int, int]:
        """Inferences and executions so far, as soon as there are so many inferences, or after some seconds.

        Triton counts a call after its answer.
        """
        end = time.monotonic() + COUNT_SECONDS
        while True:
            statistics = self.client.get_inference_statistics(model).model_stats[0]
            if statistics.inference_count >= inferences or time.monotonic() > end:
                return statistics.inference_count, statistics.execution_count
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends the server."""
        self.client.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
