"""Threads are counted by pool."""

from __future__ import annotations

import asyncio
import threading

import pytest
from clipserve_gateway import lifecycle
from clipserve_gateway.inputs.decode_pool import DecodePool
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.threads import ThreadCollector, pool_of, thread_names, use_named_workers
from clipserve_gateway.settings import host_environment


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("MainThread", "main"),
        ("decode_3", "decode"),
        ("http-answer_0", "http-answer"),
        ("work_12", "work"),
        ("http", "http"),
        ("Thread-1 (_poll_wrapper)", "grpc"),
        ("event_engine", "grpc"),
        ("lancedb-tokio-w", "engine"),
        ("LanceDBBackgroundEventLoop", "engine"),
        ("", ""),
    ],
)
def test_a_threads_name_tells_its_pool(name: str, pool: str) -> None:
    assert pool_of(name) == pool


def counted(metrics: Metrics) -> dict[str, float]:
    (family,) = (each for each in metrics.registry.collect() if each.name == "clipserve_threads")
    return {sample.labels["pool"]: sample.value for sample in family.samples}


async def test_every_thread_is_told_once() -> None:
    metrics = Metrics()
    metrics.registry.register(ThreadCollector())
    pool, before = DecodePool(metrics, 2), counted(metrics)
    await asyncio.gather(*(pool.ping() for _ in range(8)))
    after = counted(metrics)
    assert after["decode"] - before.get("decode", 0) in (1, 2)
    assert after["main"] == 1
    assert sum(after.values()) >= threading.active_count()
    assert len(list(thread_names())) >= threading.active_count()
    pool.close()


def test_the_loops_own_workers_have_a_name_and_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipserve_gateway.process.threads.available_cores", lambda: 1)

    async def names() -> set[str]:
        use_named_workers(asyncio.get_running_loop())
        barrier = threading.Barrier(5)

        def meet() -> str:
            barrier.wait()
            return threading.current_thread().name

        return set(await asyncio.gather(*(asyncio.to_thread(meet) for _ in range(10))))

    assert asyncio.run(names()) == {f"work_{n}" for n in range(5)}


@pytest.mark.parametrize(("cores", "reads"), [(1, "2"), (4, "4"), (64, "8")])
def test_the_engines_reads_follow_the_cores(monkeypatch: pytest.MonkeyPatch, cores: int, reads: str) -> None:
    monkeypatch.setattr(lifecycle, "available_cores", lambda: cores)
    monkeypatch.setenv(lifecycle.ENGINE_READS, "")
    monkeypatch.delenv(lifecycle.ENGINE_READS)
    lifecycle.use_few_engine_threads("s3://bucket/data")
    assert lifecycle.ENGINE_READS not in host_environment()
    lifecycle.use_few_engine_threads("data")
    assert host_environment()[lifecycle.ENGINE_READS] == reads
    monkeypatch.setenv(lifecycle.ENGINE_READS, "5")
    lifecycle.use_few_engine_threads("data")
    assert host_environment()[lifecycle.ENGINE_READS] == "5", "a given value is used"
