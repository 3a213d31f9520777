"""A real tritonserver from the nvidia-pytriton package, for tests that run in the models' environment.

What it takes: the binary keeps its place in the package (its RPATH depends on it); the package's libraries
and libpython on LD_LIBRARY_PATH; a backend directory in which the Python backend has the stub of this
Python version; and this environment's python3 first on PATH, whose packages the stub then uses.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import numpy as np
from clipserve_gateway.runtime.ports import free_port
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

START_SECONDS = 120.0
STUB = "triton_python_backend_stub"


class TritonServer:
    """One tritonserver on a repository."""

    def __init__(self, repository: Path, folder: Path) -> None:
        import pytriton

        package = Path(pytriton.__path__[0])
        server = package / "tritonserver"
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        backends = folder / "backends"
        shutil.copytree(server / "backends" / "python", backends / "python")
        shutil.copy2(server / "python_backend_stubs" / version / STUB, backends / "python")
        self.log = folder / "triton.log"
        self.url = f"127.0.0.1:{free_port()}"
        self._repository = repository
        libraries = [str(package.parent / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR")]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    server / "bin" / "tritonserver",
                    f"--model-repository={repository}",
                    f"--backend-directory={backends}",
                    "--exit-on-error=false",
                    "--strict-readiness=false",
                    "--disable-auto-complete-config",
                    "--allow-http=false",
                    "--allow-metrics=false",
                    "--grpc-address=127.0.0.1",
                    f"--grpc-port={self.url.split(':')[1]}",
                ],
                env=os.environ
                | {
                    "LD_LIBRARY_PATH": ":".join(libraries),
                    "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
                    "VIRTUAL_ENV": sys.prefix,
                },
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

    def counts(self, model: str) -> tuple[int, int]:
        """Inferences and executions so far."""
        statistics = self.client.get_inference_statistics(model).model_stats[0]
        return statistics.inference_count, statistics.execution_count

    def stop(self) -> None:
        """Ends the server."""
        self.client.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
