"""Where a row is run: a folder, and the processes that it starts, which end with it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import clipserve
import numpy as np
from clipserve_exporter.config import Serving

from faults import ROOT
from faults.calls import Calls
from faults.delay_model import SERVING, DelayModel, Knobs
from faults.flows import Flow
from faults.processes import Triton
from faults.watch import SCRAPE_SECONDS, serves, takes_calls, tracebacks, wait_until
from testing.launch import launch
from testing.service import Gateway, start_gateway

READY_SECONDS = 60.0
OUT, LOG = "calls.npz", "load.log"
"""Files of a load's folder."""
FINISH_SECONDS = 120.0
"""How long calls under way may take when a load ends; more is a hang."""
MOST_LATE = 1.0
"""By how much 99 of 100 calls of an open flow may begin late, unless the row is stricter."""


class LoadTooSlow(Exception):
    """The load process could not do what it was asked for: nothing was measured."""


class Load:
    """A load process that is calling."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, flows: tuple[Flow, ...]) -> None:
        self.process = process
        self._folder = folder
        self._flows = flows

    def finish(self, most_late: float = MOST_LATE) -> Calls:
        """Ends the load; every call it made. Raises LoadTooSlow."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        if self.process.wait(FINISH_SECONDS) != 0:
            raise LoadTooSlow((self._folder / LOG).read_text()[-1000:])
        calls = Calls.read(self._folder / OUT)
        for flow in self._flows:
            if flow.rate:
                check_rate(flow, calls.of(flow.name), most_late)
        return calls

    def kill(self) -> None:
        """Ends it at once, and its connections with it."""
        self.process.kill()
        self.process.wait()


def check_rate(flow: Flow, calls: Calls, most_late: float) -> None:
    """Raises LoadTooSlow where calls did not begin when they should have."""
    late = float(np.quantile(calls.lateness, 0.99)) if len(calls) else np.inf
    if late > most_late:
        raise LoadTooSlow(
            f"{flow.name}: the load could not offer {flow.rate:g} calls/s: 1 of 100 began {late:.3f} s late"
        )


class Service(NamedTuple):
    """What a row needs whose fault lies elsewhere."""

    model: DelayModel
    triton: Triton
    gateway: Gateway


class FaultEnv:
    """What a row works with. Everything it starts is ended by `close`.

    Attributes:
        folder: empty at first.
        seconds: length of the long loads.
        tries: how often the rows that kill a process many times do it.
        swaps: how often a model is exported again.
        common: whose `service` is used; its own by default.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float = 60.0,
        tries: int = 50,
        swaps: int = 10,
        common: FaultEnv | None = None,
    ) -> None:
        self.folder = folder
        self.seconds = seconds
        self.tries = tries
        self.swaps = swaps
        self._common = common
        self._service: Service | None = None
        self._stack = contextlib.ExitStack()
        self._logs: dict[Path, int] = {}
        """Logs of gateways, and how much of them is of earlier rows."""
        self._started = 0

    def close(self) -> None:
        """Ends all processes."""
        self._stack.close()

    def subfolder(self, name: str) -> Path:
        """A new folder."""
        self._started += 1
        folder = self.folder / f"{self._started:02}-{name}"
        folder.mkdir(parents=True)
        return folder

    def model(self, name: str = "delay", serving: Serving = SERVING, **knobs: Any) -> DelayModel:
        """A model in a repository of its own."""
        return DelayModel(self.subfolder(name), name, Knobs(**knobs), serving)

    def triton(self, repository: Path, *options: str) -> Triton:
        """A Triton that serves a repository, ready; its `options` count more than those of `up`."""
        triton = Triton(self.subfolder("triton"), repository, *options)
        self._stack.callback(triton.kill)
        triton.start()
        return triton

    def gateway(
        self,
        triton: str,
        *options: str,
        data: str = "",
        ready: bool = True,
        env: Mapping[str, str] | None = None,
        callbacks: Path | None = None,
    ) -> Gateway:
        """A gateway of its own; `ready` waits until it serves a model.

        Into `callbacks` it writes what its event loop does (testing.watched_gateway).
        """
        folder = self.subfolder("gateway")
        watched: dict[str, Any] = {}
        if callbacks is not None:
            watched["program"] = (sys.executable, "-m", "testing.watched_gateway", callbacks)
            env = dict(env or {}) | {"PYTHONPATH": os.pathsep.join(sys.path)}
        gateway = start_gateway(triton, data or str(folder / "data"), folder, *options, env=env, **watched)
        self._stack.callback(end, gateway.process)
        self._logs[gateway.log] = 0
        if ready:
            wait_ready(gateway)
        return gateway

    def service(self) -> Service:
        """A model, a Triton and a gateway for rows that do not break them; they may be of an earlier row."""
        if self._common is not None:
            return self._common.service()
        if self._service is None or self._service.gateway.process.poll() is not None:
            model = self.model()
            triton = self.triton(model.repository)
            self._service = Service(model, triton, self.gateway(triton.address, "--canary-seconds", "600"))
        self._service.model.turn(**asdict(Knobs()))
        return self._service

    def tracebacks(self) -> list[str]:
        """What this row's gateways logged of faults of their own, since this was asked last."""
        found = self._common.tracebacks() if self._common is not None else []
        for log, begin in self._logs.items():
            content = log.read_bytes()
            self._logs[log] = len(content)
            found += tracebacks(content[begin:])
        return found

    def client(self, gateway: Gateway, **options: Any) -> clipserve.Client:
        """An SDK client of a gateway."""
        return self._stack.enter_context(clipserve.Client(gateway.address, **options))

    def load(self, target: str, *flows: Flow, module: str = "faults.load") -> Load:
        """A load process that has begun to call."""
        folder = self.subfolder("load")
        log = folder / LOG
        paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        command = [sys.executable, "-m", module]
        process = launch(command, log=log, cwd=ROOT, env=paths, stdin=subprocess.PIPE)
        self._stack.callback(end, process)
        assert process.stdin is not None
        order = {"target": target, "flows": [asdict(flow) for flow in flows], "out": str(folder / OUT)}
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        began = wait_until(lambda: "begun" in log.read_text() or process.poll() is not None, READY_SECONDS)
        assert began < READY_SECONDS, log.read_text()
        return Load(process, folder, flows)


def wait_ready(gateway: Gateway) -> None:
    """Waits until a gateway takes calls and serves a model."""

    def ready() -> bool:
        return takes_calls(gateway.http) and serves(gateway.http)

    seconds = wait_until(ready, READY_SECONDS, SCRAPE_SECONDS)
    assert seconds < READY_SECONDS, gateway.log.read_text()[-3000:]


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process at once, if it is there still."""
    process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
