"""Half an hour of everything that callers do, and whether the gateway grows.

The real service with the demo model gets a mix of calls, good and bad ones, cancelled ones, and callers that
vanish. Memory, file descriptors and threads of the gateway are sampled all the while. After the first third,
the line through what remains must rise by less than a megabyte of memory a minute, and by less than five
descriptors in all; in the last third, neither all threads nor those of any pool may be five more at most than
in the second; and every call must end as its kind should.

Threads are judged by their peaks: LanceDB keeps a thread for each file that it reads at once, and the largest
number in a time grows with the logarithm of that time. A leak grows with the time itself.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import click
import clipserve
import numpy as np

from faults.calls import Calls
from faults.fault_env import FaultEnv, Load
from faults.flows import Flow
from faults.report import tell_promises
from faults.row import Promise, at_most, only
from faults.watch import MIB, Usage, Watch, thread_pools
from testing.service import Service, start

SAMPLE_SECONDS = 5.0
VANISH_SECONDS = 20.0
"""How often a process of callers is killed in the middle of its calls."""
WARM = 1 / 3
"""Part of the time that does not count."""
MIB_PER_MINUTE = 1.0
FILES = THREADS = 5.0
COLLECTION = "soaked"
DIM = 256
"""Of the demo model."""

FLOWS = (
    Flow("embed texts", "embed_text", rate=8),
    Flow("embed the same texts", "embed_text", rate=4, distinct=20),
    Flow("embed images", "embed_image", rate=3),
    Flow("classify", "classify", rate=2),
    Flow("search", "search", rate=4, collection=COLLECTION, dim=DIM),
    Flow("search texts", "search_text", rate=2, collection=COLLECTION),
    Flow("upsert", "upsert", rate=4, collection=COLLECTION, dim=DIM),
    Flow("delete", "delete", rate=2, collection=COLLECTION),
    Flow("bulk", "embed_text", rate=2, priority="bulk"),
    Flow("streams", "stream", rate=0.1, timeout=60),
    Flow("cancelled", "embed_batch", rate=0.5, patience=0.05),
    Flow("hurried", "embed_batch", rate=0.2, timeout=0.05),
    Flow("bad images", "bad_image", rate=1),
    Flow("bad requests", "bad_request", rate=1),
)
ENDS = {
    "cancelled": ("CANCELLED", "OK"),
    "hurried": ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "OK"),
    "bad images": ("INVALID_ARGUMENT",),
    "bad requests": ("INVALID_ARGUMENT",),
}
"""How calls end that are not all OK."""


@click.command(help=__doc__)
@click.option("--minutes", default=30.0, show_default=True, help="How long.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("build"), show_default=True,
    help="Folder for soak.json and soak.png.",
)  # fmt: skip
def main(minutes: float, out: Path) -> None:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory(prefix="clipserve-soak-") as scratch:
        folder = Path(scratch)
        (folder / "service").mkdir()
        service = start(folder / "service")
        env = FaultEnv(folder / "env")
        try:
            with clipserve.Client(service.address) as client:
                client.create_collection(COLLECTION)
            with Watch(service.process.pid, SAMPLE_SECONDS) as watch:
                calls, pools = soak(env, service, minutes * 60)
        finally:
            env.close()
            code = service.stop()
    promises = [*growth(watch.samples), *pool_growth(pools), *endings(calls)]
    promises.append(Promise("exit code 0", f"{code}", code == 0))
    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.json").write_text(json.dumps(facts(watch.samples, pools, calls, promises), indent=1))
    draw(watch.samples, out / "soak.png")
    tell_promises(promises)
    click.echo(f"{out}/soak.json, {out}/soak.png")
    sys.exit(0 if all(promise.kept for promise in promises) else 1)


def soak(env: FaultEnv, service: Service, seconds: float) -> tuple[Calls, list[dict[str, float]]]:
    """Everything that callers do, for so long; and the threads of each pool, from time to time."""
    pools = []
    load = env.load(service.address, *FLOWS)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        vanishing: Load = env.load(service.address, Flow("gone", "stream", callers=2, timeout=60))
        time.sleep(min(left, 1.0))
        vanishing.kill()
        pools.append(thread_pools(service.http))
        time.sleep(max(0.0, min(VANISH_SECONDS, end - time.monotonic())))
    return load.finish(most_late=10.0), pools


def growth(samples: list[Usage]) -> list[Promise]:
    """What the gateway took on, once it was warm."""
    minutes = np.array([it.moment - samples[0].moment for it in samples]) / 60
    counts = minutes >= WARM * minutes[-1]
    length = float(minutes[-1] * (1 - WARM))

    def slope(name: str) -> float:
        values = np.array([getattr(it, name) for it in samples], float)
        return float(np.polyfit(minutes[counts], values[counts], 1)[0])

    return [
        at_most("memory grows by, a minute", slope("memory") / MIB, MIB_PER_MINUTE, "MiB"),
        at_most("file descriptors grow by, in all", slope("files") * length, FILES, ""),
        thread_growth("all threads", [float(usage.threads) for usage in samples]),
    ]


def thread_growth(what: str, counts: list[float]) -> Promise:
    """How many more threads there were at once in the last third of the time than in the second."""
    third = len(counts) // 3
    before, after = max(counts[third : 2 * third]), max(counts[2 * third :])
    return at_most(f"{what}, at most {before:g}, grow by", after - before, THREADS, "")


def pool_growth(pools: list[dict[str, float]]) -> list[Promise]:
    """The growth of each pool of threads."""
    names = sorted(set().union(*pools))
    return [
        thread_growth(f"threads of the pool {name}", [now.get(name, 0) for now in pools]) for name in names
    ]


def endings(calls: Calls) -> list[Promise]:
    """Whether the calls of each flow ended as they should."""
    return [only(flow.name, calls.of(flow.name).codes, *ENDS.get(flow.name, ("OK",))) for flow in FLOWS]


def facts(
    samples: list[Usage], pools: list[dict[str, float]], calls: Calls, promises: list[Promise]
) -> dict[str, object]:
    """All that was seen."""
    return {
        "samples": [asdict(it) for it in samples],
        "threads": pools,
        "calls": {flow: dict(calls.of(flow).codes) for flow in calls.flows},
        "p99_seconds": {flow: round(calls.of(flow).quantile(0.99), 4) for flow in calls.flows},
        "promises": [asdict(promise) for promise in promises],
    }


def draw(samples: list[Usage], path: Path) -> None:
    """The plot."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    minutes = [(it.moment - samples[0].moment) / 60 for it in samples]
    figure, axes = plt.subplots(3, sharex=True, figsize=(8, 6), layout="constrained")
    series = {
        "memory, MiB": [it.memory / MIB for it in samples],
        "descriptors": [it.files for it in samples],
        "threads": [it.threads for it in samples],
    }
    for axis, (name, values) in zip(axes, series.items(), strict=True):
        axis.plot(minutes, values)
        axis.axvspan(0, WARM * minutes[-1], alpha=0.1)
        axis.set(ylabel=name, ylim=(0, None))
    axes[-1].set_xlabel("minutes")
    figure.savefig(path)


if __name__ == "__main__":
    main()
