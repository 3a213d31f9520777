"""Triton dies, hangs, or is slow."""

from __future__ import annotations

import time
from collections.abc import Iterator

from faults.fault_env import FaultEnv
from faults.flows import Flow
from faults.row import Promise, at_most, only, row
from faults.rows.recovery import recovered, wait_recovered
from faults.watch import SCRAPE_SECONDS, http_status, metric, serves, wait_until

FIRST_MOMENTS = 0.5
"""Seconds after the fault in which failures may take longer."""
LOOK_OUT_SECONDS = 2.0
"""How often the gateway asks what there is."""


@row("triton-killed", quick=True)
def killed(env: FaultEnv) -> Iterator[Promise]:
    """Triton gets SIGKILL under 60 calls/s, stays away for some seconds, and is started again."""
    model = env.model(delay=0.005)
    triton = env.triton(model.repository)
    gateway = env.gateway(triton.address)
    load = env.load(gateway.address, Flow("calls", "embed_text", rate=60))
    time.sleep(1)
    broken = time.monotonic()
    triton.kill()
    said = wait_until(lambda: not serves(gateway.http), LOOK_OUT_SECONDS, SCRAPE_SECONDS)
    up, ready = metric(gateway.http, "clipserve_triton_up"), http_status(f"{gateway.http}/readyz")
    time.sleep(max(0.0, broken + LOOK_OUT_SECONDS - time.monotonic()))
    restart = time.monotonic()
    back = triton.start()
    wait_recovered(gateway)
    calls = load.finish()
    away = calls.ended(after=broken, before=back)
    yield only("before, all is well", calls.ended(before=broken).codes, "OK")
    yield only("callers get UNAVAILABLE", away.failed.codes, "UNAVAILABLE", least=50)
    # Its start takes the cores that callers and gateway need.
    later = away.begun(broken + FIRST_MOMENTS, restart).failed
    yield at_most("from 0.5 s on, p99 of failures", later.quantile(0.99), 0.25)
    yield at_most("clipserve_model_ready says so within", said, LOOK_OUT_SECONDS)
    yield Promise("clipserve_triton_up too", f"{up:g}", up == 0)
    yield Promise("the gateway stays ready: /readyz", f"{ready}", ready == 200)
    yield from recovered(calls, back)


@row("triton-frozen")
def frozen(env: FaultEnv) -> Iterator[Promise]:
    """Triton gets SIGSTOP under 40 calls/s that would wait 30 s, and SIGCONT 12 s later."""
    model = env.model(delay=0.005)
    triton = env.triton(model.repository)
    gateway = env.gateway(triton.address)
    load = env.load(gateway.address, Flow("calls", "embed_text", rate=40, timeout=30))
    time.sleep(2)
    broken = time.monotonic()
    triton.freeze()
    time.sleep(12)
    back = time.monotonic()
    triton.thaw()
    wait_recovered(gateway)
    calls = load.finish()
    away = calls.begun(after=broken, before=back)
    yield only("callers get UNAVAILABLE", away.failed.codes, "UNAVAILABLE", least=100)
    hit = calls.ended(after=broken, before=back)
    yield at_most("every call is answered within", hit.quantile(1.0), 3.0)
    later = away.begun(after=broken + 4)
    yield at_most("from 4 s on, p99 of failures", later.failed.quantile(0.99), 0.1)
    yield from recovered(calls, back)


@row("triton-slow")
def slow(env: FaultEnv) -> Iterator[Promise]:
    """Each execution suddenly takes 3 s, while 30 calls/s have 1 s each; 8 s later it is fast again."""
    model = env.model(delay=0.005)
    triton = env.triton(model.repository)
    gateway = env.gateway(triton.address)
    load = env.load(gateway.address, Flow("calls", "embed_text", rate=30, timeout=1.0))
    time.sleep(2)
    broken = time.monotonic()
    model.turn(delay=3.0)
    time.sleep(8)
    back = time.monotonic()
    model.turn(delay=0.005)
    # The execution under way, and one of what was queued before.
    time.sleep(6)
    wait_recovered(gateway)
    calls = load.finish()
    away = calls.begun(after=broken + 0.2, before=back)
    late = ("DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED")
    yield only("callers hear that it is late, or that it is not served", away.failed.codes, *late, least=100)
    yield at_most("nobody waits longer than 1 s and", calls.quantile(1.0) - 1.0, 0.25)
    yield from recovered(calls, back + 6)
    gauge = metric(gateway.http, "clipserve_inflight_items")
    yield Promise("nothing is left behind: items in flight", f"{gauge:g}", gauge == 0)
    dropped = metric(gateway.http, "clipserve_dropped_total")
    yield Promise("late work is counted by stage", f"{dropped:,.0f}", dropped > 0)
