"""A bare Debian system in a folder, run with chroot. Needs root and debootstrap."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGES = "ca-certificates,python3,python3-venv,git,make,curl"
"""What the README requires; everything else is Debian's smallest system."""
USER = "user"
HOME = Path("/home") / USER


class CannotTry(Exception):
    """This machine cannot make bare Debian systems; the message tells what it lacks."""


class BareDebian:
    """A bare Debian system with an ordinary user."""

    def __init__(self, suite: str, folder: Path) -> None:
        """`suite` is the name of a Debian release: `bookworm` is 12, `trixie` is 13."""
        self.suite = suite
        self.folder = folder

    def make(self, mirror: str, packages: str = PACKAGES) -> None:
        """Installs the system into the folder, with name servers and pip settings of this machine."""
        self.remove()
        self.folder.mkdir(parents=True)
        options = ["--variant=minbase", f"--include={packages}"]
        command = ["debootstrap", *options, self.suite, str(self.folder), mirror]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotTry(f"debootstrap failed: {(done.stdout + done.stderr).strip().splitlines()[-1:]}")
        subprocess.run(["useradd", "-R", self.folder, "-m", "-s", "/bin/bash", USER], check=True)
        for path in ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"):
            self.copy(path)
        for path in glob.glob("/etc/xdg/pip/*"):
            self.copy(path)
        for path in glob.glob(f"{Path.home()}/.config/pip/*"):
            self.copy(path, HOME / ".config" / "pip" / Path(path).name)
        self.run_as_root(f"chown -R {USER} {HOME}")
        self.mount()

    def copy(self, path: str, target: Path | None = None) -> None:
        """Copies a file of this machine to the same path, or to `target`, in the bare system."""
        if Path(path).is_file():
            inside = self.inside(target or Path(path))
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, inside)

    def inside(self, path: Path) -> Path:
        """The path on this machine of a path in the bare system."""
        return self.folder / path.relative_to("/")

    def mount(self) -> None:
        """Mounts /proc, /sys, /dev and the folders of wheels in pip's settings."""
        for kind, name in (("proc", "proc"), ("sysfs", "sys")):
            subprocess.run(["mount", "-t", kind, kind, self.folder / name], check=True)
        subprocess.run(["mount", "--rbind", "/dev", self.folder / "dev"], check=True)
        subprocess.run(["mount", "--make-rslave", self.folder / "dev"], check=True)
        for name in wheel_folders():
            self.inside(Path(name)).mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "--bind", "-o", "ro", name, self.inside(Path(name))], check=True)

    def remove(self) -> None:
        """Unmounts everything and removes the folder."""
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in sorted((each for each in mounts if each.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "-l", path], check=False)
        if self.folder.exists():
            subprocess.run(["rm", "-rf", "--one-file-system", self.folder], check=True)

    def run_as_root(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["chroot", self.folder, "bash", "-c", script], capture_output=True, text=True, check=False
        )

    def run(self, script: str, log: Path, variables: Mapping[str, str] | None = None) -> int:
        """Runs a shell script as the ordinary user, with its output in `log`; the exit code."""
        given = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
        given |= {"HOME": str(HOME), "USER": USER, "PATH": "/usr/local/bin:/usr/bin:/bin"} | dict(
            variables or {}
        )
        words = ["env", "-i", *(f"{key}={value}" for key, value in given.items()), "bash", "-c", script]
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ {script}\n")
            file.flush()
            return subprocess.run(
                ["chroot", f"--userspec={USER}", self.folder, *words], stdin=subprocess.DEVNULL, stdout=file,
                stderr=file, check=False,
            ).returncode  # fmt: skip


def mirror_of_this_machine() -> str:
    text = "\n".join(Path(path).read_text() for path in sorted(glob.glob("/etc/apt/sources.list*"))
                     if Path(path).is_file())  # fmt: skip
    text += "\n".join(Path(path).read_text() for path in sorted(glob.glob("/etc/apt/sources.list.d/*")))
    named = re.findall(r"https?://\S+|file:\S+", text)
    addresses = [address for address in named if address.rstrip("/").endswith("/debian")]
    if not addresses:
        raise CannotTry("there is no Debian mirror in /etc/apt/sources.list; name one with MIRROR=")
    return addresses[0]


def wheel_folders() -> list[str]:
    command = ["python3", "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    words = shlex.split(done.stdout.replace("=", " ")) if done.returncode == 0 else []
    paths = [part.removeprefix("file://") for word in words for part in word.split()]
    folders = {path.removesuffix("/simple") for path in paths if path.startswith("/") and "/etc/" not in path}
    return sorted(path for path in folders if Path(path).is_dir())


@contextlib.contextmanager
def bare(suite: str, folder: Path, mirror: str, packages: str = PACKAGES) -> Iterator[BareDebian]:
    """Makes a bare Debian system and removes it at the end."""
    if os.geteuid():
        raise CannotTry("a bare Debian needs root: run `sudo make fresh`")
    if not shutil.which("debootstrap"):
        raise CannotTry("debootstrap is missing: `sudo apt-get install debootstrap`")
    machine = BareDebian(suite, folder)
    try:
        machine.make(mirror, packages)
        yield machine
    finally:
        machine.remove()
