"""Ten times more than can be done."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from clipserve_exporter.config import Serving

from faults.calls import Calls
from faults.fault_env import FaultEnv, Load
from faults.flows import Flow
from faults.row import Promise, at_least, at_most, row
from faults.watch import MIB, Watch

SERVING = Serving(text_batch=8, queue_delay_us=20_000)
DELAY = 0.32
"""Seconds of each execution of eight items: 25 items a second are all that can be done.

So ten times as much is still easy for the gateway and the load on two cores: neither is what is measured."""
TIMEOUT = 3.0
SATURATING = 32
"""Callers that keep the model busy all the time, and are answered in time."""
MEASURE_SECONDS = 12.0
WARM_SECONDS = 2.0
MOST_LATE = 0.05
REFUSED = "RESOURCE_EXHAUSTED"


@row("overload")
def overload(env: FaultEnv) -> Iterator[Promise]:
    """First the capacity is measured (32 callers, 3 s for each call); then ten times as much is offered."""
    model = env.model(serving=SERVING, delay=DELAY)
    gateway = env.gateway(env.triton(model.repository).address)
    capacity = measured_capacity(env, gateway.address)
    yield at_least("the capacity, calls/s, of 25", capacity, 15)
    with Watch(gateway.process.pid) as watch:
        load = env.load(gateway.address, Flow("calls", "embed_text", rate=10 * capacity, timeout=TIMEOUT))
        began = time.monotonic()
        calls = after(load, env.seconds)
        time.sleep(2)
    ok = calls.ok.ended(before=began + env.seconds)
    refused = calls.coded(REFUSED)
    admitted = len(calls) - len(refused)
    yield at_least("offered, calls/s", len(calls) / env.seconds, 9.5 * capacity)
    yield at_least("answers in time, of the capacity", len(ok) / env.seconds / capacity, 0.9, "%")
    yield at_least("admitted calls that end OK", len(calls.ok) / max(1, admitted), 0.99, "%")
    yield at_most("refusals, p99", refused.quantile(0.99), 0.05)
    overloaded = float(np.mean(refused.records["reason"] == "OVERLOADED")) if len(refused) else 0.0
    yield at_least("refusals that say OVERLOADED", overloaded, 1.0, "%")
    yield at_most("memory at its peak: more than before", watch.growth, 96, "MiB")
    growth = (watch.samples[-1].memory - watch.samples[0].memory) / MIB
    yield at_most("and two seconds after", growth, 64, "MiB")


@row("overload-both-lanes")
def overload_both_lanes(env: FaultEnv) -> Iterator[Promise]:
    """Interactive and bulk calls are offered at five times the capacity each, for half as long."""
    model = env.model(serving=SERVING, delay=DELAY)
    gateway = env.gateway(env.triton(model.repository).address)
    capacity = measured_capacity(env, gateway.address)
    lanes = [
        Flow(lane, "embed_text", rate=5 * capacity, timeout=TIMEOUT, priority=lane)
        for lane in ("interactive", "bulk")
    ]
    seconds = env.seconds / 2
    calls = after(env.load(gateway.address, *lanes), seconds)
    answered = {flow.name: len(calls.of(flow.name).ok) for flow in lanes}
    total = sum(answered.values())
    yield at_least("answers in time, of the capacity", total / seconds / capacity, 0.9, "%")
    yield at_least("bulk's share of them", answered["bulk"] / max(1, total), 0.09, "%")
    yield at_least("interactive's", answered["interactive"] / max(1, total), 0.8, "%")
    others = Flow("alone", "embed_text", rate=5 * capacity, timeout=TIMEOUT, priority="bulk")
    alone = after(env.load(gateway.address, others), 8)
    # Triton still has what was admitted last, at first.
    yield at_least("bulk alone may have it all: of the capacity", len(alone.ok) / 8 / capacity, 0.8, "%")


def measured_capacity(env: FaultEnv, address: str) -> float:
    """Calls a second that are answered in time, when enough callers wait for their answers."""
    flow = Flow("capacity", "embed_text", callers=SATURATING, timeout=TIMEOUT)
    load = env.load(address, flow)
    began = time.monotonic()
    calls = after(load, MEASURE_SECONDS)
    steady = calls.ok.ended(began + WARM_SECONDS, began + MEASURE_SECONDS)
    return len(steady) / (MEASURE_SECONDS - WARM_SECONDS)


def after(load: Load, seconds: float) -> Calls:
    """What became of calls that go on for so long."""
    time.sleep(seconds)
    return load.finish(MOST_LATE)
