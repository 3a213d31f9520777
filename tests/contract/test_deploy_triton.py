"""The real Triton takes the manifests' arguments, and does what they are there for."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipserve_gateway.errors import ClipserveError, ModelUnavailable
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.local.command import environment
from clipserve_gateway.local.die_with_parent import die_with_parent
from clipserve_gateway.local.install import TritonMissing, find_install
from clipserve_gateway.local.ports import free_ports
from clipserve_gateway.local.run_folder import lay_out
from clipserve_gateway.settings import Settings
from clipserve_gateway.triton.client import TritonEncoder
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from testing.fakes import SPEC
from testing.tools import missing

ROOT = Path(__file__).parents[2]
MODELS_ENV = ROOT / ".venv-models"
POD_UID = "5d9ad3a4-4b1c-4f86-8c59-a3c1c2f0c1a7"
RELEASES = {"2.51.0": "24.10"}
"""Container releases by server version."""
FIXED = "26.08"
"""The first release with the fixes of 2025 and 2026, and with a dynamic batcher that never starves."""

CONFIG = """
name: "echo" backend: "python" max_batch_size: 4
input [{ name: "INPUT__0" data_type: TYPE_FP32 dims: [1] }]
output [{ name: "OUTPUT__0" data_type: TYPE_FP32 dims: [1] }]
dynamic_batching { max_queue_delay_microseconds: 100 }
"""
MODEL = """
import triton_python_backend_utils as pb
class TritonPythonModel:
    def execute(self, requests):
        # By DLPack: with numpy 2 the server sends nothing of an array of numpy's.
        tensors = [pb.get_input_tensor_by_name(it, "INPUT__0").to_dlpack() for it in requests]
        return [pb.InferenceResponse([pb.Tensor.from_dlpack("OUTPUT__0", it)]) for it in tensors]
"""


@dataclass(frozen=True)
class Triton:
    """A running one: the manifest's container, on this machine."""

    ports: dict[str, int]
    client: InferenceServerClient

    def get(self, port: str, path: str) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=5) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def repository(folder: Path) -> Path:
    """A good model, and a bad one that must not keep it from being served."""
    (folder / "echo" / "1").mkdir(parents=True)
    (folder / "echo" / "config.pbtxt").write_text(CONFIG)
    (folder / "echo" / "1" / "model.py").write_text(MODEL)
    (folder / "bad" / "1").mkdir(parents=True)
    (folder / "bad" / "config.pbtxt").write_text(CONFIG.replace("echo", "bad"))
    (folder / "bad" / "1" / "model.py").write_text("raise RuntimeError('broken')")
    return folder


@pytest.fixture(scope="module")
def container(render: Any) -> dict[str, Any]:
    """The container of the overlay without GPUs."""
    return render("cpu-dev").container("triton")


@pytest.fixture(scope="module")
def triton(container: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """Started with the container's arguments; only addresses and folders are this machine's."""
    with running(container["args"], tmp_path_factory.mktemp("triton")) as triton:
        yield triton


@contextlib.contextmanager
def running(given: list[str], folder: Path) -> Iterator[Triton]:
    """A Triton with these arguments, but for its addresses and folders."""
    try:
        install = find_install(MODELS_ENV)
    except TritonMissing as error:
        missing(f"Triton is missing: {error}")
    ports = dict(zip(("http", "grpc", "metrics"), free_ports(0, 0, 0), strict=True))
    ours = {f"--{name}-port": str(number) for name, number in ports.items()}
    run = lay_out(install, repository(folder / "given"), folder)
    ours["--model-repository"] = str(run.models)
    ours["--backend-directory"] = str(run.backends)
    ours |= {"--http-address": "127.0.0.1", "--grpc-address": "127.0.0.1"}
    kept = [it for it in given if it.partition("=")[0] not in ours]
    arguments = [it.replace("$(POD_UID)", POD_UID) for it in kept]
    arguments += [f"{name}={value}" for name, value in ours.items()]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*die_with_parent(), run.install.binary, *arguments],
            env=environment(run.install),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    client = InferenceServerClient(f"127.0.0.1:{ports['grpc']}")
    try:
        wait_until_ready(client, process, log)
        yield Triton(ports, client)
    finally:
        client.close()
        process.terminate()
        process.wait(30)


def wait_until_ready(client: InferenceServerClient, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Triton refused to start:\n{log.read_text()[-2000:]}"
        try:
            if client.is_server_ready(client_timeout=2):
                return
        except InferenceServerException:
            time.sleep(0.1)
    raise AssertionError(f"Triton was not ready in time:\n{log.read_text()[-2000:]}")


def test_it_has_started_though_one_model_is_bad(triton: Triton, container: dict[str, Any]) -> None:
    asked = container["startupProbe"]["httpGet"]
    assert triton.get(asked["port"], asked["path"])[0] == 200
    assert triton.client.is_model_ready("echo")
    assert not triton.client.is_model_ready("bad")


def test_the_gateway_and_the_guard_may_do_what_they_do(triton: Triton) -> None:
    ready = {it.name: it.state == "READY" for it in triton.client.get_model_repository_index().models}
    assert ready == {"echo": True, "bad": False}
    assert triton.client.get_model_config("echo").config.name == "echo"
    tensor = InferInput("INPUT__0", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
    assert triton.client.infer("echo", [tensor]).as_numpy("OUTPUT__0") == 1
    assert [it.name for it in triton.client.get_inference_statistics().model_stats] == ["echo"]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.load_model("echo"),
        lambda client: client.unload_model("echo"),
        lambda client: client.register_system_shared_memory("region", "/region", 8),
        lambda client: client.update_log_settings({"log_verbose_level": 1}),
        lambda client: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}),
    ],
    ids=["load", "unload", "shared memory", "log", "trace"],
)
def test_nobody_changes_models_shares_memory_or_turns_on_logs(triton: Triton, call: Any) -> None:
    with pytest.raises(InferenceServerException, match=r"restricted|not allowed"):
        call(triton.client)


def test_an_operator_may_change_the_log(triton: Triton) -> None:
    key = {"triton-grpc-protocol-admin-key": POD_UID}
    assert triton.client.get_log_settings(headers=key).settings["log_format"].string_param == "ISO8601"


@pytest.mark.slow
async def test_the_gateway_shows_a_key_where_its_operator_restricts_more(
    container: dict[str, Any], tmp_path: Path
) -> None:
    restricted = "--grpc-restricted-protocol=model-repository,model-config,inference:admin-key=s3cret"
    spec = dataclasses.replace(SPEC, name="echo", embed_dim=1)
    headers = tmp_path / "headers"
    headers.write_text("triton-grpc-protocol-admin-key: s3cret\n")
    with running([*container["args"], restricted], tmp_path) as triton:
        target = f"127.0.0.1:{triton.ports['grpc']}"
        stranger = TritonEncoder(target)
        gateway = TritonEncoder(target, Settings(triton_headers_file=str(headers)).triton_headers)
        try:
            with pytest.raises(ClipserveError, match="TRITON_HEADERS_FILE"):
                await stranger.repository_index(5)
            assert (await gateway.repository_index(5))["echo"]
            (echo,) = await gateway.towers(["echo"], 5)
            assert (echo.triton_name, echo.bulk_batch) == ("echo", 0)
            # The echo is no tower; what is refused is its name, and not the caller.
            with pytest.raises(ModelUnavailable, match="not served"):
                await gateway.encode(spec, "text", np.zeros((1, 1), np.int32), Deadline.after(5))
        finally:
            await stranger.close()
            await gateway.close()


@pytest.mark.parametrize("path", ["/v2", "/v2/models/echo/config", "/v2/models/stats", "/v2/logging"])
def test_http_is_for_probes_only(triton: Triton, path: str) -> None:
    assert triton.get("http", path)[0] == 403


def test_it_exports_the_metrics_that_autoscaling_reads(
    triton: Triton, triton_metrics: dict[str, str]
) -> None:
    status, text = triton.get("metrics", "/metrics")
    assert status == 200
    for name, kind in triton_metrics.items():
        assert f"# TYPE {name} {kind}\n" in text
        assert f'{name}{{model="echo"' in text
    assert "summary" not in text


def test_the_container_is_a_release_with_the_fixes_and_the_readme_says_which_was_tried(
    triton: Triton, container: dict[str, Any]
) -> None:
    release = container["image"].removeprefix("nvcr.io/nvidia/tritonserver:").removesuffix("-py3")
    assert release >= FIXED
    tried = RELEASES[triton.client.get_server_metadata().version]
    words = " ".join((ROOT / "deploy" / "README.md").read_text().split())
    assert f"({tried})" in words
    assert f"The {release} image of Triton" in words
    assert f"tritonserver:{release}-py3" in (ROOT / "deploy" / "compose.yaml").read_text()
