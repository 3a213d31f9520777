"""What the contract tests share: the manifests as kubectl renders them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from testing.tools import need_kubectl

ROOT = Path(__file__).parents[2]
KUSTOMIZE = ROOT / "deploy" / "kustomize"
SHOWN = ("production", "milvus")
"""No overlays in the repository, but those that deploy/README.md shows, in their order there."""
RENDERED = ("cpu-dev", "gpu", *SHOWN)

TRITON_METRICS = {
    "nv_inference_request_success": "counter",
    "nv_inference_queue_duration_us": "counter",
    "nv_inference_pending_request_count": "gauge",
}
"""What autoscaling reads of Triton's metrics, and their kinds; held equal to the real one's by a test."""


@dataclass(frozen=True)
class Manifests:
    """The objects of one rendered overlay."""

    objects: list[dict[str, Any]] = field(repr=False)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        return [it for it in self.objects if it["kind"] == kind]

    def one(self, kind: str, name: str) -> dict[str, Any]:
        """The one object of that kind and name."""
        (found,) = (it for it in self.of(kind) if it["metadata"]["name"] == name)
        return found

    def selected(self, labels: dict[str, str]) -> list[dict[str, Any]]:
        """The Deployments whose pods carry all these labels."""
        return [
            it
            for it in self.of("Deployment")
            if labels.items() <= it["spec"]["template"]["metadata"]["labels"].items()
        ]

    def containers(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Every (pod spec, container), init containers included."""
        for deployment in self.of("Deployment"):
            pod = deployment["spec"]["template"]["spec"]
            for container in pod.get("initContainers", []) + pod["containers"]:
                yield pod, container

    def restarting(self, deployment: dict[str, Any]) -> list[dict[str, Any]]:
        """The containers of a Deployment's pods that run as long as these: its own and sidecars."""
        pod = deployment["spec"]["template"]["spec"]
        sidecars = [it for it in pod.get("initContainers", []) if it.get("restartPolicy") == "Always"]
        return sidecars + pod["containers"]

    def container(self, name: str) -> dict[str, Any]:
        """The one container of that name."""
        (found,) = (it for _, it in self.containers() if it["name"] == name)
        return found

    @property
    def settings(self) -> dict[str, str]:
        """The gateway's environment, by variable."""
        (config,) = self.of("ConfigMap")
        return config["data"]


@pytest.fixture(scope="session")
def render(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Manifests]:
    """Renders an overlay by name, once."""
    done: dict[str, Manifests] = {}

    def shown(name: str) -> Path:
        copy = tmp_path_factory.mktemp("deploy") / "kustomize"
        shutil.copytree(KUSTOMIZE, copy)
        overlay = copy / "overlays" / name
        overlay.mkdir()
        found = re.findall(r"```yaml\n(.*?)```", (ROOT / "deploy" / "README.md").read_text(), re.DOTALL)
        assert len(found) == len(SHOWN)
        (overlay / "kustomization.yaml").write_text(found[SHOWN.index(name)])
        return overlay

    def run(name: str) -> Manifests:
        if name not in done:
            folder = shown(name) if name in SHOWN else KUSTOMIZE / "overlays" / name
            done[name] = rendered(folder)
        return done[name]

    return run


@pytest.fixture
def render_with(tmp_path: Path) -> Callable[..., Manifests]:
    """Renders an overlay with components on top, in this order."""

    def run(overlay: str, *components: str) -> Manifests:
        shutil.copytree(KUSTOMIZE, tmp_path / "kustomize")
        file = tmp_path / "kustomize" / "overlays" / overlay / "kustomization.yaml"
        listed = ", ".join(f"../../components/{component}" for component in components)
        file.write_text(f"{file.read_text()}\ncomponents: [{listed}]\n")
        return rendered(file.parent)

    return run


def rendered(folder: Path) -> Manifests:
    """What kubectl makes of a folder; it has nothing to complain about."""
    command = [need_kubectl(), "kustomize", folder]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stderr == "", "kustomize has nothing to complain about"
    return Manifests([it for it in yaml.safe_load_all(result.stdout) if it])


@pytest.fixture(params=RENDERED)
def manifests(request: pytest.FixtureRequest, render: Callable[[str], Manifests]) -> Manifests:
    """Each overlay in turn."""
    return render(request.param)


@pytest.fixture
def gpu(render: Callable[[str], Manifests]) -> Manifests:
    """The overlay for GPUs."""
    return render("gpu")


@pytest.fixture
def production(render: Callable[[str], Manifests]) -> Manifests:
    """The README's overlay: GPUs, collections in object storage, a gateway free to scale."""
    return render("production")


@pytest.fixture
def milvus(render: Callable[[str], Manifests]) -> Manifests:
    """The README's other overlay: collections in Milvus."""
    return render("milvus")


@pytest.fixture
def triton_metrics() -> dict[str, str]:
    """Kinds of the Triton metrics that the manifests may use, by name."""
    return TRITON_METRICS
