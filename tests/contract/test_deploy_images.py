"""The Dockerfiles, the compose file and the script that copies models keep to the code and work."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from clipserve_gateway import cli
from clipserve_gateway.local.settings import LocalSettings
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings

from bootstrap.lock import blocks
from testing.fakes import FakeBackend
from testing.tools import need

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
COPY_MODELS = DOCKER / "copy-models.sh"
COMPOSE = ROOT / "deploy" / "compose.yaml"
SHELLS = {
    "sh": "install a POSIX shell",
    "dash": "install the package `dash` of your distribution",
    "busybox": "run `make setup-tests`, or install the package `busybox` of your distribution",
}
"""Shells that run copy-models.sh in the tests, and how to get each."""
PACKAGES = ("client/clipserve", "gateway/clipserve_gateway", "exporter/clipserve_exporter")


def dockerfile(name: str) -> list[list[str]]:
    """Its [instruction, rest of the line], comments left out and continued lines joined."""
    lines = (DOCKER / f"{name}.Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    return [line.split(None, 1) for line in joined.splitlines() if line.strip()]


def values(name: str, instruction: str) -> list[str]:
    return [rest for given, rest in dockerfile(name) if given == instruction]


def sent(path: str) -> bool:
    """Whether .dockerignore lets the path into the build; the last pattern that matches decides."""
    decision = True
    parents = [path, *(str(it) for it in Path(path).parents if str(it) != ".")]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        plain = pattern.removeprefix("**/")
        names = [Path(it).name for it in parents] if plain != pattern else parents
        if line and not line.startswith("#") and any(fnmatch.fnmatch(it, plain) for it in names):
            decision = line.startswith("!")
    return decision


def test_the_gateways_image_runs_a_command_that_exists() -> None:
    (command,) = json.loads(values("gateway", "ENTRYPOINT")[-1])
    scripts = {it.name: it.value for it in metadata.entry_points(group="console_scripts")}
    assert scripts[command] == "clipserve_gateway.cli:main"
    (subcommand,) = json.loads(values("gateway", "CMD")[-1])
    assert subcommand in cli.main.commands


def test_the_gateways_image_exposes_the_default_ports() -> None:
    exposed = [int(it) for it in values("gateway", "EXPOSE")[-1].split()]
    assert exposed == [LocalSettings.model_fields[it].default for it in ("port", "http_port", "api_port")]


def test_the_gateways_image_sets_only_settings_that_exist(gpu: Any) -> None:
    given = dict(it.split("=", 1) for it in values("gateway", "ENV")[-1].split())
    ours = {name: value for name, value in given.items() if name.startswith("CLIPSERVE_")}
    for name, value in ours.items():
        assert name.removeprefix("CLIPSERVE_").lower() in Settings.model_fields
        assert gpu.settings[name] == value


def test_the_gateways_image_has_no_torch() -> None:
    (installs,) = (it for it in values("gateway", "RUN") if "--require-hashes" in it)
    (lock,) = re.findall(r"-r (\S+)", installs)
    names = {it.partition("==")[0] for it in blocks((ROOT / lock).read_text())}
    assert {"lancedb", "pymilvus"} <= names
    assert not names & {"torch", "open-clip-torch", "timm"}


def test_the_exporters_image_installs_the_torch_that_was_tested() -> None:
    pinned = {
        it.split(";")[0].strip() for it in metadata.requires("clipserve") or [] if it.startswith("torch==")
    }
    assert pinned == set(re.findall(r"\btorch==[\d.]+", " ".join(values("models", "RUN"))))


def test_the_exporter_has_the_options_that_its_image_uses() -> None:
    (run,) = (it for it in values("models", "RUN") if "clipserve-export " in it)
    assert "clipserve-export" in {it.name for it in metadata.entry_points(group="console_scripts")}
    declared = (ROOT / "exporter" / "clipserve_exporter" / "cli.py").read_text()
    for option in re.findall(r"--[a-z-]+", run):
        assert f'"{option}"' in declared, f"clipserve-export has no {option}"


def test_images_run_as_the_users_of_the_manifests(gpu: Any) -> None:
    for image, deployment in (("gateway", "clipserve-gateway"), ("models", "clipserve-triton")):
        security = gpu.one("Deployment", deployment)["spec"]["template"]["spec"]["securityContext"]
        assert values(image, "USER") == [f"{security['runAsUser']}:{security['runAsGroup']}"]


def test_no_image_is_built_of_random_weights() -> None:
    (run,) = (it for it in values("models", "RUN") if "clipserve-export " in it)
    check = run.partition(" && ")[0]
    for model, pretrained, good in (
        ("demo", "", True),
        ("ViT-B-32", "openai", True),
        ("ViT-B-32", "", False),
    ):
        arguments = {"MODEL": model, "PRETRAINED": pretrained}
        result = subprocess.run(
            ["sh", "-c", check], env=os.environ | arguments, capture_output=True, check=False
        )
        assert (result.returncode == 0) is good


@pytest.mark.parametrize("name", ["gateway", "models"])
def test_what_an_image_copies_exists_and_reaches_the_build(name: str) -> None:
    copied = [it.split() for it in values(name, "COPY") if "--from=" not in it]
    sources = [source for parts in copied for source in parts[:-1] if not source.startswith("--")]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), f"{source} is missing"
        assert sent(source), f".dockerignore keeps {source} away"


def test_the_build_gets_nothing_else() -> None:
    for path in (".git", ".venv", "build", "tests", "deploy/README.md", "exporter/training/train_demo.py"):
        assert not sent(path), f"{path} would be sent"
    assert not sent("gateway/clipserve_gateway/__pycache__/cli.cpython-311.pyc")


def test_the_wheel_that_the_images_install_is_whole(tmp_path: Path) -> None:
    """Weights and vocabularies included: an editable install would not notice that they are missing."""
    source = tmp_path / "source"
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info", "training")
    for folder in ("client", "gateway", "exporter"):
        shutil.copytree(ROOT / folder, source / folder, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", tmp_path, source], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    for package in PACKAGES:
        parent = source / Path(package).parts[0]
        files = [it for it in (source / package).rglob("*") if it.is_file()]
        missing = {str(it.relative_to(parent)) for it in files} - packed
        assert not missing


def test_compose_runs_what_kubernetes_runs(gpu: Any) -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    triton = gpu.container("triton")
    assert services["triton"]["image"] == triton["image"]
    assert services["triton"]["entrypoint"] == triton["command"]
    assert set(services["triton"]["command"]) <= set(triton["args"])
    assert services["gateway"]["image"] == gpu.container("gateway")["image"]
    assert services["models"]["command"] == gpu.container("models")["args"]
    for name in services["gateway"]["environment"]:
        assert name.removeprefix("CLIPSERVE_").lower() in Settings.model_fields
    host, _, number = services["gateway"]["environment"]["CLIPSERVE_TRITON"].partition(":")
    assert f"--grpc-port={number}" in services[host]["command"]


async def test_compose_asks_whether_the_gateway_is_ready(tmp_path: Path) -> None:
    asked, python, *arguments = yaml.safe_load(COMPOSE.read_text())["services"]["gateway"]["healthcheck"][
        "test"
    ]
    assert (asked, python) == ("CMD", "python")
    gateway = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend())
    await gateway.start()
    await gateway.begun()
    ours = f"127.0.0.1:{Settings.model_fields['http_port'].default}"
    script = [it.replace(ours, f"127.0.0.1:{gateway.http_port}") for it in arguments]
    assert script != arguments
    try:
        for code in (0, 1):
            process = await asyncio.create_subprocess_exec(
                sys.executable, *script, stderr=asyncio.subprocess.DEVNULL
            )
            assert await process.wait() == code
            gateway.parts.readiness.shut_down()
    finally:
        await gateway.stop(drain_seconds=0, grace_seconds=0)


def test_compose_mounts_models_where_they_are_copied_and_read() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    volume, target = services["models"]["volumes"][0].split(":")
    assert services["models"]["command"] == [target] == json.loads(values("models", "CMD")[-1])
    assert services["triton"]["volumes"] == [f"{volume}:/models:ro"]
    assert "--model-repository=/models" in services["triton"]["command"]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """An environment whose `sh` and tools are of one kind; the image has BusyBox's."""
    found = need(request.param, SHELLS[request.param])
    tools = tmp_path / "bin"
    tools.mkdir()
    if request.param == "busybox":
        for tool in ("sh", "find", "rm", "cp", "sed", "sort", "grep", "sha256sum", "cat"):
            (tools / tool).symlink_to(found)
        return {"PATH": str(tools)}
    (tools / "sh").symlink_to(found)
    return {"PATH": f"{tools}:{os.environ['PATH']}"}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """What the image holds: models, and the manifest written the way the Dockerfile does."""
    root = tmp_path / "image"
    for name, content in (
        ("demo_image/1/model.pt", b"\0weights"),
        ("demo_image/config.pbtxt", b"name"),
        ("a b/x", b""),
    ):
        path = root / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (manifest,) = (it for it in values("models", "RUN") if "sha256sum" in it)
    assert manifest == "find . -type f -exec sha256sum {} + > /models.sha256"
    subprocess.run(manifest.replace("> /", "> ../"), shell=True, cwd=root / "models", check=True)
    return root


def copy(image: Path, shell: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    sh = shutil.which("sh", path=shell["PATH"])
    return subprocess.run(
        [str(sh), COPY_MODELS, *arguments],
        env=shell | {"MODELS_ROOT": str(image)},
        capture_output=True,
        text=True,
        check=False,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


def test_models_are_copied_whole(image: Path, shell: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "volume"
    target.mkdir()
    result = copy(image, shell, target)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"copy-models: 3 files in {target}, all checksums match\n"
    assert files(target) == files(image / "models")


def test_a_second_try_clears_what_the_first_left(image: Path, shell: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "volume"
    (target / "half_a_model" / "1").mkdir(parents=True)
    (target / "half_a_model" / "1" / "model.pt").write_bytes(b"half")
    (target / ".hidden").write_bytes(b"")
    result = copy(image, shell, target)
    assert result.returncode == 0, result.stderr
    assert files(target) == files(image / "models")


@pytest.mark.parametrize("damage", ["changed", "missing", "strange"])
def test_a_damaged_copy_fails_and_names_the_file(
    image: Path, shell: dict[str, str], tmp_path: Path, damage: str
) -> None:
    weights = image / "models" / "demo_image" / "1" / "model.pt"
    if damage == "changed":
        weights.write_bytes(b"\0weightz")
    elif damage == "missing":
        weights.unlink()
    else:
        (weights.parent / "strange.pt").write_bytes(b"")
    target = tmp_path / "volume"
    target.mkdir()
    result = copy(image, shell, target)
    assert result.returncode == 1
    assert "copy-models: " in result.stderr
    assert {"changed": "./demo_image/1/model.pt", "missing": "manifest", "strange": "strange.pt"}[
        damage
    ] in result.stderr


def test_it_wants_one_folder_and_a_manifest(image: Path, shell: dict[str, str], tmp_path: Path) -> None:
    (image / "models.sha256").rename(image / "kept")
    for arguments in ((), (tmp_path / "none",), (tmp_path, tmp_path), (tmp_path,)):
        result = copy(image, shell, *arguments)
        assert result.returncode == 1
        assert result.stderr.startswith("copy-models: ")
    assert (image / "kept").exists()
