"""A bulk job that leaves nothing for people."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from faults import ROOT
from faults.calls import Calls
from faults.fault_env import FaultEnv
from faults.flows import Flow
from faults.processes import MODELS_ENV
from faults.row import Promise, at_most, only, row
from testing.service import Gateway

MODELS = {"demo": "demo", "ViT-B-32": "vit-b-32"}
"""Models, and the names that they are served under."""
ROUNDS = 2
SECONDS = 8.0
"""Of each measurement."""
WARM_SECONDS = 2.0
LONGER = 3.0
"""What the 95th percentile of a lone caller may be, of that without the job."""


@row("bulk-job")
def bulk_job(env: FaultEnv) -> Iterator[Promise]:
    """A bulk job has four calls of 32 pictures under way, beside one caller of one picture a call, and then
    of one text: by turns with and without the job. Models are exported as the README has it, ViT-B-32 with
    random weights."""
    repository = env.subfolder("exported") / "models"
    for model in MODELS:
        export(model, repository)
    gateway = env.gateway(env.triton(repository).address, "--default-model", "demo")
    for model, name in MODELS.items():
        for kind in ("photo", "text"):
            alone, beside, job = measured(
                env, gateway, Flow("caller", f"embed_{kind}", callers=1, model=name)
            )
            longer = beside.quantile(0.95) / alone.quantile(0.95)
            yield at_most(f"{model}: p95 of one {kind} beside the job, of that alone", longer, LONGER, "")
            yield only(f"{model}: calls of one {kind}", beside.codes + alone.codes, "OK", least=40)
            yield only(f"{model}: the job's calls beside them", job.codes, "OK", least=2)


def export(model: str, repository: Path) -> None:
    """As the README says."""
    command = [MODELS_ENV / "bin" / "clipserve-export", "--model", model, "--format", "python"]
    subprocess.run([*command, "--out", repository], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def measured(env: FaultEnv, gateway: Gateway, caller: Flow) -> tuple[Calls, Calls, Calls]:
    """A caller's calls alone and beside the job, and the job's."""
    job = Flow("job", "embed_photos", callers=4, timeout=120, priority="bulk", model=caller.model)
    found: tuple[list[Calls], list[Calls], list[Calls]] = ([], [], [])
    alone, beside, jobs = found
    for _ in range(ROUNDS):
        alone.append(calls_of(env, gateway, caller))
        load = env.load(gateway.address, job)
        time.sleep(WARM_SECONDS)
        beside.append(calls_of(env, gateway, caller))
        jobs.append(load.finish())
    return joined(alone), joined(beside), joined(jobs)


def calls_of(env: FaultEnv, gateway: Gateway, flow: Flow) -> Calls:
    """What a flow sees for some seconds."""
    load = env.load(gateway.address, flow)
    time.sleep(SECONDS)
    return load.finish()


def joined(parts: list[Calls]) -> Calls:
    """Calls of one flow, of several loads."""
    return Calls(parts[0].flows, np.concatenate([part.records for part in parts]))
