"""Models are exported, added and removed again and again: nothing of them stays in the gateway."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import clipserve

from faults.delay_model import DelayModel
from faults.fault_env import FaultEnv
from faults.flows import Flow
from faults.row import Promise, at_least, at_most, only, row
from faults.rows.swap import SWAP_SECONDS, swapped
from faults.watch import wait_until
from testing.service import Gateway

RELOADS, WARM = 50, 10
"""Reloads that are measured, and those before, which fill caches of bounded size."""
OPTIONS = ("--model-poll-seconds", "0.5")


@dataclass(frozen=True)
class Size:
    """What a process holds."""

    mebibytes: float
    threads: int
    descriptors: int


def size_of(pid: int) -> Size:
    """What a process holds now."""
    status = dict(line.partition(":")[::2] for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Size(int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]), descriptors)


def series_of(gateway: Gateway) -> int:
    """Series of its metrics."""
    with urllib.request.urlopen(f"{gateway.http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(not line.startswith("#") for line in lines)


@row("model-reloads")
def model_reloads(env: FaultEnv) -> Iterator[Promise]:
    """One name is exported sixty times with other weights each time; each time a new name is added, called
    and removed. The SDK embeds and classifies all the while. The last fifty count."""
    model = env.model()
    triton = env.triton(model.repository, "--repository-poll-secs=1")
    gateway = env.gateway(triton.address, *OPTIONS)
    client = env.client(gateway)
    flows = (Flow("texts", "embed_text", callers=1), Flow("classes", "classify", callers=1))
    load = env.load(gateway.address, *flows, module="faults.sdk_load")
    assert triton.process is not None
    pids = gateway.process.pid, triton.process.pid
    before, series, slowest = [size_of(pid) for pid in pids], 0, 0.0
    gone: list[str] = []
    for number in range(1, WARM + RELOADS + 1):
        guest = DelayModel(model.repository.parent, f"guest{number}")
        fingerprint = model.export(number)
        slowest = max(slowest, wait_until(lambda name=guest.name: serves(client, name), SWAP_SECONDS))
        slowest = max(slowest, swapped(client, fingerprint))
        guest.remove()
        for name in gone:
            slowest = max(slowest, wait_until(lambda name=name: is_unknown(client, name), SWAP_SECONDS))
        gone = [guest.name]
        if number == WARM:
            before, series = [size_of(pid) for pid in pids], series_of(gateway)
    slowest = max(slowest, wait_until(lambda: is_unknown(client, gone[0]), SWAP_SECONDS))
    after = [size_of(pid) for pid in pids]
    calls = load.finish()
    grown = series_of(gateway) - series
    yield at_most(f"{WARM + RELOADS} reloads; the slowest", slowest, SWAP_SECONDS)
    yield only("no call fails after the SDK's retries", calls.codes, "OK", least=10 * RELOADS)
    ours, theirs = zip(before, after, strict=True)
    yield at_most(
        f"over {RELOADS} reloads the gateway grows by", ours[1].mebibytes - ours[0].mebibytes, 16, "MiB"
    )
    yield at_most("threads more", ours[1].threads - ours[0].threads, 2, "")
    yield at_most("descriptors more", ours[1].descriptors - ours[0].descriptors, 4, "")
    yield at_most("series of metrics more", grown, 0, "")
    yield at_least("for comparison: Triton grows by", theirs[1].mebibytes - theirs[0].mebibytes, -1e6, "MiB")


def serves(client: clipserve.Client, name: str) -> bool:
    """Whether a model answers."""
    try:
        return len(client.embed_texts(["a"], model=name).embeddings) == 1
    except (clipserve.NotFound, clipserve.Unavailable):
        return False


def is_unknown(client: clipserve.Client, name: str) -> bool:
    """Whether a model is unknown, as one that never was."""
    try:
        client.embed_texts(["a"], model=name)
    except clipserve.NotFound:
        return True
    except clipserve.Unavailable:
        time.sleep(0.1)
    return False
