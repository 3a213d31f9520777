"""Extracts files of Debian packages without root and without changes to the system."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

APT_SECONDS = 180


class FetchFailed(Exception):
    """A package cannot be downloaded or unpacked; the message tells why."""


def available() -> bool:
    return bool(shutil.which("apt-get") and shutil.which("dpkg-deb"))


def owner(path: str) -> str:
    """The package of a file; empty if there is none."""
    # Since /usr was merged, dpkg may know the file by its older path.
    for name in (path, path.removeprefix("/usr")):
        done = run(["dpkg-query", "--search", name])
        if done.returncode == 0:
            return done.stdout.partition(":")[0]
    return ""


def installed_version(package: str) -> str:
    """The version of an installed package; empty if it is not installed."""
    done = run(["dpkg-query", "--show", "--showformat=${Version}", package])
    return done.stdout.strip() if done.returncode == 0 else ""


@contextlib.contextmanager
def unpacked(package: str, version: str = "") -> Iterator[Path]:
    """A temporary folder with the package's files, in this version if it is still available.

    Uses the system's package lists; if they are missing or old, downloads its own lists.
    """
    with tempfile.TemporaryDirectory(prefix="clipserve-package-") as name:
        folder = Path(name)
        names = [f"{package}={version}", package] if version else [package]
        errors = [download(each, folder, ()) for each in names[:1]]
        if errors[-1]:
            options = own_lists(folder)
            errors += [run(["apt-get", *options, "-qq", "update"]).stderr]
            for each in names:
                errors.append(download(each, folder, options))
                if not errors[-1]:
                    break
        archives = list(folder.glob("*.deb"))
        if not archives:
            lines = [line for line in "\n".join(errors).splitlines() if line.startswith(("E:", "W:"))]
            raise FetchFailed("; ".join(line[3:] for line in lines[-2:]) or "apt-get failed")
        tree = folder / "tree"
        done = run(["dpkg-deb", "--extract", os.fspath(archives[0]), os.fspath(tree)])
        if done.returncode:
            raise FetchFailed(done.stderr.strip() or "dpkg-deb failed")
        yield tree


def download(package: str, folder: Path, options: Sequence[str]) -> str:
    """Downloads a package into `folder`; the error, empty if there is none."""
    done = run(["apt-get", *options, "-qq", "download", package], cwd=folder)
    return "" if done.returncode == 0 and list(folder.glob("*.deb")) else done.stderr or "E: no package came"


def own_lists(folder: Path) -> list[str]:
    """Options that make apt-get keep its lists and caches in `folder`."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    settings = {
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "Debug::NoLocking": "1",
        # By default, root downloads as a user that may not write here.
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    return [word for key, value in settings.items() if value for word in ("-o", f"{key}={value}")]


def run(command: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a tool of Debian. If it cannot be started, the result has exit code 127."""
    try:
        return subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=APT_SECONDS, check=False,
            env=os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(list(command), 127, "", f"E: {error}")
