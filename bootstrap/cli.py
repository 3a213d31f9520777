"""The commands `install`, `doctor` and `browser`."""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import errno
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bootstrap import preflight, state, uv
from bootstrap.browser import NoBrowser, find_browser, install_browser
from bootstrap.choice import Choice, choose
from bootstrap.debian import FetchFailed
from bootstrap.doctor import packages, show_checks
from bootstrap.install import DISK_FULL, Installer, SetupFailed
from bootstrap.kubectl import KubectlError
from bootstrap.libpython import NoLibpython
from bootstrap.machine import Machine, this_machine
from bootstrap.pip import Pip, PipFailed, cache_folder, temporary_folder
from bootstrap.progress import Lines
from bootstrap.pythons import Python, probe
from bootstrap.stages import GATEWAY_ENV, MODELS_ENV, Stage, stages, total

ROOT = Path(__file__).resolve().parent.parent
FAILURES = (SetupFailed, PipFailed, NoLibpython, KubectlError, FetchFailed, OSError)
ENVIRONMENTS = {"gateway": GATEWAY_ENV, "models": MODELS_ENV}


def main() -> None:
    """Runs one command and exits with its code."""
    parser = argparse.ArgumentParser(prog="python3 -m bootstrap", description=__doc__)
    parser.add_argument("command", choices=("install", "doctor", "browser"))
    parser.add_argument(
        "--tests", action="store_true", help="also install the tools of `make test` and `make lint`"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="build of torch; auto: CUDA if there is an NVIDIA driver")  # fmt: skip
    parser.add_argument("--check", action="store_true", help="check every installed file")
    options = parser.parse_args()
    Installer.thorough = options.check or options.command == "doctor"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = doctor if options.command == "doctor" else install
    try:
        if options.command == "browser":
            sys.exit(browser())
        sys.exit(run(ROOT, options.device, options.tests))
    except KeyboardInterrupt:
        Pip.stop_all()
        sys.exit("\n✗ interrupted; the next run continues from here")


def doctor(root: Path, device: str, tests: bool) -> int:
    """Prints the machine and what is installed; 1 if something that the set-up needs is missing."""
    machine, choice = look(root)
    device = device_of(root, device, machine)
    workers = installers(root, choice, device, Lines())
    missing = missing_stages(workers, stages(device, tests=tests))
    checks = checks_of(machine, choice, device, workers, missing)
    good = show_checks([*checks, check_browser()] if tests else checks)
    print("\ninstalled")
    for environment in ENVIRONMENTS.values():
        for line in packages(root / environment):
            print(f"  {line}")
    for stage in missing:
        print(f"  – {stage.environment} {stage.name}: not installed yet ({stage.download_mb} MB to fetch)")
    return 0 if good else 1


def browser() -> int:
    """Installs Chromium for the browser tests; 1 if it cannot be installed."""
    try:
        print(f"✓ {install_browser()}")
    except NoBrowser as error:
        print(f"✗ {error}", file=sys.stderr)
        return 1
    return 0


def install(root: Path, device: str, tests: bool) -> int:
    """Checks the machine and installs what is missing; 0 if everything is installed."""
    with only_one(root):
        if not needs_work(root, device, tests):
            return 0
        machine, choice = look(root)
        device = device_of(root, device, machine)
        wanted = stages(device, tests=tests)
        lines = Lines()
        workers = installers(root, choice, device, lines)
        missing = missing_stages(workers, wanted)
        download, disk = total(missing)
        print("· this machine", file=sys.stderr)
        if not show_checks(checks_of(machine, choice, device, workers, missing), file=sys.stderr):
            return 1
        print(f"· to fetch: about {download} MB; on disk {disk / 1000:.1f} GB: "
              f"{', '.join(stage.name for stage in missing)}", file=sys.stderr)  # fmt: skip
        present = choice.gateway or choice.models
        if present is not None and None in (choice.gateway, choice.models):
            what = "gateway" if choice.gateway is None else "models"
            print(f"· Python {uv.VERSION} from uv, for the {what}", file=sys.stderr, flush=True)
            try:
                downloaded = uv.download_python(root, present)
            except uv.NoPython as error:
                sys.exit(f"✗ {error}")
            choice = Choice(choice.gateway or downloaded, choice.models or downloaded)
            workers = installers(root, choice, device, lines)
        shutil.rmtree(temporary_folder(root), ignore_errors=True)
        if not run_all(workers, wanted, lines):
            lines.say("· the next run continues from here; `make doctor` shows what is installed")
            return 1
        shutil.rmtree(cache_folder(root), ignore_errors=True)
        shutil.rmtree(temporary_folder(root), ignore_errors=True)
        return 0


def check_browser() -> preflight.Check:
    """The browser of the browser tests."""
    if path := find_browser():
        return preflight.Check("browser", "ok", path)
    return preflight.Check(
        "browser", "note", "no Chromium: `make browser` installs it, for the browser tests"
    )


def run_all(workers: Sequence[Installer], wanted: Sequence[Stage], lines: Lines) -> bool:
    """Makes both environments at the same time and prints failures at once; whether there was none."""
    good = True
    with concurrent.futures.ThreadPoolExecutor(len(workers)) as pool:
        try:
            tasks = [pool.submit(worker.install, wanted) for worker in workers]
            for task in concurrent.futures.as_completed(tasks):
                failure = task.exception()
                if failure is not None and not isinstance(failure, FAILURES):
                    raise failure
                if failure is not None:
                    good = False
                    lines.say(f"✗ {message_of(failure)}")
        except BaseException:
            Pip.stop_all()
            raise
    return good


def message_of(failure: BaseException) -> str:
    if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{DISK_FULL} ({failure.filename or 'while a file was written'})"
    return str(failure)


def needs_work(root: Path, device: str, tests: bool) -> bool:
    """Whether something may be missing. Checks only files, so that a complete set-up starts at once."""
    for environment in ENVIRONMENTS.values():
        known = state.load(root / environment)
        wanted = stages(known.device or "cpu", tests=tests)
        if device not in ("auto", known.device) and environment == MODELS_ENV:
            return True
        worker = Installer(root, environment, None, known.device, Lines())
        if worker.missing(wanted):
            return True
    return False


def look(root: Path) -> tuple[Machine, Choice]:
    """This machine, and the interpreters for the environments."""
    present: dict[str, Python | None] = {}
    for name, environment in ENVIRONMENTS.items():
        damaged = Installer(root, environment, None, "cpu", Lines()).damage()
        present[name] = None if damaged else probe(root / environment / "bin" / "python")
    downloaded = [path for path in (uv.downloaded_python(root),) if path]
    return this_machine(root), choose(present, chosen=[sys.executable, *downloaded])


def device_of(root: Path, device: str, machine: Machine) -> str:
    """`cpu` or `cuda`: the option, else what is installed, else what the machine has."""
    if device != "auto":
        return device
    return state.load(root / MODELS_ENV).device or ("cuda" if machine.card else "cpu")


def installers(root: Path, choice: Choice, device: str, lines: Lines) -> list[Installer]:
    """An installer for each environment; `device` is `cpu` or `cuda`."""
    pairs = ((GATEWAY_ENV, choice.gateway), (MODELS_ENV, choice.models))
    return [Installer(root, environment, python, device, lines) for environment, python in pairs]


def missing_stages(workers: Sequence[Installer], wanted: Sequence[Stage]) -> list[Stage]:
    return [stage for worker in workers for stage in worker.missing(wanted)]


def checks_of(
    machine: Machine, choice: Choice, device: str, workers: Sequence[Installer], missing: Sequence[Stage]
) -> list[preflight.Check]:
    made = [worker.path for worker in workers if worker.path.is_dir()]
    foreign = [worker.path for worker in workers if worker.is_foreign()]
    return preflight.check_all(machine, choice, workers[0].root, device, missing, made, foreign)


@contextlib.contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Waits until no other set-up runs in this folder."""
    if os.name != "posix":
        yield
        return
    import fcntl

    folder = root / "build" / "setup"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        sys.exit(f"✗ {folder} cannot be written ({error.strerror}): clone as this user, or free disk space")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("· another set-up is running in this folder: waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        Pip.held = (lock.fileno(),)
        yield
