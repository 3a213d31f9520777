"""The systems that are measured: processes of their own, idle while others are measured."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from clipserve_gateway.local.command import LARGE_PAGES

from bench.speed import BUILD, MODELS_ENV, ROOT
from bench.speed.load import Done, Order
from bench.speed.turns import Turn, turn_of
from bench.speed.watch import Meter, Watched
from testing.service import Service, start, stubs_of

MEMORY = {
    "GLIBC_TUNABLES": LARGE_PAGES,
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
}
"""What Triton and its backend have of glibc too: huge pages, and freed memory is kept."""


class Lines:
    """A process that answers each line of JSON with one."""

    def __init__(
        self, command: Sequence[object], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """`environment` comes on top of this process's own."""
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                list(map(str, command)),
                cwd=ROOT,
                env=os.environ | dict(environment or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def read(self) -> dict[str, Any]:
        """The next line; ClickException with the log's end if there is none."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise click.ClickException(f"{self.log}:\n{self.log.read_text()[-3000:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """An order's answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.read()

    def stop(self) -> None:
        """Ends it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


class Load:
    """The load process, and the requests that it has been given."""

    def __init__(self, folder: Path) -> None:
        self.lines = Lines([sys.executable, "-m", "bench.speed.load"], folder / "load.log")
        self._folder = folder
        self._sent = 0

    def requests(self, name: str, requests: Sequence[bytes]) -> str:
        """Writes requests down for the process; their file."""
        file = self._folder / f"{name}.requests"
        file.write_bytes(pickle.dumps(list(requests)))
        return str(file)

    def send(
        self,
        target: str,
        path: str,
        requests: str,
        seconds: float,
        *,
        callers: int = 0,
        rate: float = 0.0,
        priority: str = "",
    ) -> Done:
        """See Order. Each time, other requests come first."""
        self._sent += 97
        order = Order(target, path, requests, seconds, callers, rate, self._sent, priority)
        return Done(**self.lines.ask(asdict(order)))

    def turn(
        self,
        target: str,
        path: str,
        requests: str,
        seconds: float,
        *,
        items: int = 1,
        watched: Watched | None = None,
        callers: int = 0,
        rate: float = 0.0,
    ) -> Turn:
        """A server's turn, with requests of so many items each and what those watched spent.

        ClickException if none of its calls was answered: no times must not pass for short ones.
        """
        with Meter(watched or Watched()) as meter:
            done = self.send(target, path, requests, seconds, callers=callers, rate=rate)
        if not done.end:
            raise click.ClickException(f"{target} answered no call of {path or 'its own'}: {done.failures}")
        return turn_of(done, seconds, items, meter)


SERVING = {"demo": ("--instances", "2", "--threads", "1")}
"""Options of the export for models that are not served best by those below."""
SHARING = ("--instances", "2", "--image-batch", "8")
"""Two instances that share the cores. One core needs no more than 8 pictures for its full speed."""

FIXED = "-fixed"
"""Ends the name of a model whose texts all have the full length."""


def export(model: str, *, fixed_too: bool = False, by_trial: bool = False, precision: str = "fp32") -> Path:
    """A repository of that model, made on first use; with it, if asked, the same with texts of full length.

    Models without weights get random ones. `by_trial` exports as the README does: a trial chooses instances
    and batches.
    """
    name = model.lower()
    repository = BUILD / (f"{name}-both" if fixed_too else f"{name}-by-trial" if by_trial else name)
    if precision != "fp32":
        repository = repository.with_name(f"{repository.name}-{precision}")
    options = () if by_trial else SERVING.get(name, SHARING)
    for suffix, length in (("", "auto"), (FIXED, "fixed"))[: 1 + fixed_too]:
        if not (repository / f"{name}{suffix}_text").exists():
            click.echo(f"· exporting {name}{suffix}", err=True)
            command: list[object] = [MODELS_ENV / "bin" / "clipserve-export", "--model", model]
            command += ["--name", name + suffix, "--text-length", length]
            command += ["--format", "python", "--precision", precision, "--out", repository, *options]
            subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return repository


class Clipserve:
    """`clipserve-gateway up` with one model, as a user would start it."""

    def __init__(self, model: str, repository: Path, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.model = model.lower()
        self.service: Service = start(folder, *options, repository=repository)

    def watched(self, tower: str, load: Load) -> Watched:
        """The processes that a call passes through."""
        triton = self.service.triton_pid
        pids = {
            "gateway": [self.service.process.pid],
            "Triton": [triton],
            "model": stubs_of(triton, f"{self.model}_{tower}"),
            "load": [load.lines.process.pid],
        }
        return Watched(pids, f"{self.service.http}/metrics")


@contextlib.contextmanager
def clipserve_of(model: str, repository: Path, folder: Path, *options: str) -> Iterator[Clipserve]:
    """The service, stopped afterwards."""
    click.echo(f"· starting clipserve with {model}", err=True)
    clipserve = Clipserve(model, repository, folder, *options)
    try:
        yield clipserve
    finally:
        clipserve.service.stop()


@contextlib.contextmanager
def worker_of(model: str, repository: Path, photos: Path, folder: Path) -> Iterator[Lines]:
    """The worker without a server, stopped afterwards."""
    click.echo(f"· starting the ceiling with {model}", err=True)
    python = MODELS_ENV / "bin" / "python"
    command = [python, Path(__file__).parent / "worker.py", repository, model.lower(), model, photos]
    worker = Lines(command, folder / "worker.log", MEMORY | {"PYTHONPATH": str(ROOT / "gateway")})
    worker.read()
    try:
        yield worker
    finally:
        worker.stop()
