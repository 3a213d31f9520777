"""The server where collections are kept goes away and comes back."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from clipserve import Point

from faults.calls import Calls
from faults.fault_env import FaultEnv
from faults.flows import Flow, embedding
from faults.row import Promise, at_most, only, row
from faults.watch import SCRAPE_SECONDS, http_status, metric, wait_until
from testing.milvus_server import MilvusServer

COLLECTION = "points"
AWAY = 8.0
"""Seconds that Milvus is away."""
MILVUS_RECOVERY = 15.0
"""Seconds from Milvus's own word that it is healthy: it loads its collections only then."""


@row("milvus-down")
def milvus_down(env: FaultEnv) -> Iterator[Promise]:
    """A real Milvus gets SIGKILL under searches, upserts and classification, and comes back after 8 s."""
    _, triton, _ = env.service()
    with tempfile.TemporaryDirectory(prefix="clipserve-milvus-", ignore_cleanup_errors=True) as folder:
        milvus = MilvusServer(Path(folder))
        milvus.start()
        try:
            gateway = env.gateway(triton.address, data=milvus.uri)
            client = env.client(gateway)
            client.create_collection(COLLECTION)
            first = [Point(f"p{n}", embedding=np.frombuffer(embedding(n), "<f4")) for n in range(20)]
            client.upsert(COLLECTION, first)
            load = env.load(
                gateway.address,
                Flow("classify", "classify", rate=20, timeout=5.0),
                Flow("search", "search", rate=10, timeout=15.0, collection=COLLECTION),
                Flow("upsert", "upsert", rate=5, timeout=15.0, collection=COLLECTION),
            )
            time.sleep(4)
            broken = time.monotonic()
            milvus.kill()
            told = wait_until(lambda: metric(gateway.http, "clipserve_engine_up") == 0, AWAY, SCRAPE_SECONDS)
            ready = http_status(f"{gateway.http}/readyz")
            time.sleep(max(0.0, broken + AWAY - time.monotonic()))
            milvus.start()
            back = time.monotonic()
            time.sleep(MILVUS_RECOVERY + 4)
            calls = load.finish()
            yield from of_milvus(calls, broken, back)
            yield at_most("clipserve_engine_up says so within", told, AWAY)
            yield Promise("the gateway stays ready: /readyz", f"{ready}", ready == 200)
            up = metric(gateway.http, "clipserve_engine_up")
            yield Promise("and clipserve_engine_up is 1 again", f"{up:g}", up == 1)
            written = [f"upsert-{n}" for n in calls.of("upsert").ok.records["number"]]
            there = {it.id for it in client.get_points(COLLECTION, written)}
            yield Promise(
                "every acknowledged upsert is there", f"{len(there)} of {len(written)}", there == set(written)
            )
        finally:
            milvus.kill()


def of_milvus(calls: Calls, broken: float, back: float) -> Iterator[Promise]:
    """What callers saw of it."""
    of_engine = calls.of("search", "upsert")
    away = of_engine.begun(broken, back)
    yield only("classification goes on all the while", calls.of("classify").codes, "OK", least=200)
    alone = calls.of("classify").begun(broken, broken + AWAY)
    yield at_most("and as fast: p99", alone.quantile(0.99), 0.25)
    yield only("before, all is well", of_engine.ended(before=broken).codes, "OK", least=20)
    yield only("searches and upserts get UNAVAILABLE", away.failed.codes, "UNAVAILABLE", least=60)
    yield at_most("the longest wait for that", away.failed.quantile(1.0), 3.0)
    yield at_most("from 3 s on, p99", away.begun(after=broken + 3).failed.quantile(0.99), 0.25)
    healthy = of_engine.last_failure_after(back)
    yield at_most("all is well after Milvus says it is healthy, within", healthy, MILVUS_RECOVERY)
    yield at_most("and the longest call", of_engine.quantile(1.0), MILVUS_RECOVERY)
    yield only("all stays well", of_engine.begun(after=back + MILVUS_RECOVERY).codes, "OK", least=30)
