"""The guard beside a real Triton that is stopped, broken, overloaded and given wrong weights."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from testing.guard import Guard, start_guard
from testing.repository import version_folder
from testing.service import ROOT, Service, start, stub_of
from testing.wrong_weights import perturb


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Guard]]:
    """Starts guards, and ends them."""
    guards: list[Guard] = []

    def begin(triton: str, *options: str) -> Guard:
        guards.append(start_guard(triton, tmp_path, *options))
        return guards[-1]

    yield begin
    assert [guard.stop() for guard in guards] == [0] * len(guards)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts a Triton whose own supervisor restarts it only if it ends."""
    services: list[Service] = []

    def begin(*options: str, repository: Path) -> Service:
        services.append(start(tmp_path, "--restart-after-seconds", "1000", *options, repository=repository))
        return services[-1]

    yield begin
    assert [service.stop() for service in services] == [0] * len(services)


def test_a_triton_that_stops_answering_is_neither_ready_nor_alive_until_it_goes_on(live, client, watch):
    guard = watch(live.triton, "--canary-timeout-seconds", "1", "--restart-after-seconds", "2")
    guard.becomes("/readyz", 200)
    assert guard.get("/healthz") == (200, "ok\n")
    guard.tells('clipserve_canary_ok{model="demo"}', 1)
    assert guard.metric('clipserve_canary_checks_total{model="demo",verdict="right"}') >= 1
    assert guard.metric('clipserve_canary_seconds_count{model="twin"}') >= 1
    os.kill(live.triton_pid, signal.SIGSTOP)
    try:
        assert "model demo does not answer" in guard.becomes("/readyz", 503)
        guard.becomes("/healthz", 503)
        assert guard.get("/alive")[0] == 200, "the guard itself is well"
        assert guard.metric('clipserve_canary_ok{model="demo"}') == 0
    finally:
        os.kill(live.triton_pid, signal.SIGCONT)
    guard.becomes("/readyz", 200)
    guard.becomes("/healthz", 200)
    for told in (
        "it was right before",
        "Triton is not ready",
        "Triton must be restarted",
        "Triton is ready",
    ):
        assert told in guard.words
    # For those who come after.
    while not all(model.ready for model in client.info().models):
        time.sleep(0.1)


@pytest.mark.slow
def test_a_tower_that_breaks_down_is_this_tritons_fault_and_a_restart_cures_it(up, watch, repository):
    service = up(repository=repository)
    guard = watch(service.triton, "--restart-after-seconds", "3")
    guard.becomes("/readyz", 200)
    os.kill(stub_of(service.triton_pid, "demo_image"), signal.SIGKILL)
    assert "model demo answers wrong" in guard.becomes("/readyz", 503)
    assert guard.get("/healthz")[0] == 200, "not at once"
    assert "demo_image" in guard.becomes("/healthz", 503)
    assert guard.metric('clipserve_canary_ok{model="demo"}') == 0
    assert guard.metric('clipserve_canary_ok{model="twin"}') == 1
    os.kill(service.triton_pid, signal.SIGKILL)
    assert service.says("is back after")
    guard.becomes("/readyz", 200)
    guard.becomes("/healthz", 200)
    assert guard.metric('clipserve_canary_ok{model="demo"}') == 1


@pytest.mark.slow
def test_wrong_weights_are_told_and_are_no_reason_for_a_restart(up, watch, repository, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(repository, models)
    perturb(models / "twin_text")
    service = up(repository=models)
    guard = watch(service.triton, "--restart-after-seconds", "2")
    guard.becomes("/readyz", 200)
    assert guard.metric('clipserve_canary_ok{model="demo"}') == 1
    assert guard.metric('clipserve_canary_ok{model="twin"}') == 0
    assert guard.words.count("model twin answers wrong: twin_text: cosine") == 1
    assert "it was never right" in guard.words
    # Now demo's too: Triton polls, and loads it anew.
    perturb(models / "demo_image")
    assert "model demo answers wrong" in guard.becomes("/readyz", 503)
    time.sleep(5)
    assert guard.get("/readyz")[0] == 503
    assert guard.get("/healthz")[0] == 200
    weights = version_folder(ROOT / "build" / "model_repository", "demo_image") / "model.pt"
    shutil.copy(weights, version_folder(models, "demo_image"))
    guard.becomes("/readyz", 200)


@pytest.mark.slow
def test_a_triton_that_is_only_busy_stays_ready(up, watch, repository):
    service = up(repository=repository)
    patience = ("--canary-seconds", "0.5", "--canary-misses", "20", "--restart-after-seconds", "2")
    guard = watch(service.triton, "--canary-timeout-seconds", "0.2", *patience)
    guard.becomes("/readyz", 200)
    stop = threading.Event()

    def call() -> None:
        triton = InferenceServerClient(service.triton)
        images = InferInput("INPUT__0", [2, 224, 224, 3], "UINT8")
        images.set_data_from_numpy(np.zeros((2, 224, 224, 3), np.uint8))
        while not stop.is_set():
            with contextlib.suppress(InferenceServerException):
                triton.infer("demo_image", [images], client_timeout=60)
        triton.close()

    callers = [threading.Thread(target=call) for _ in range(12)]
    for caller in callers:
        caller.start()
    late = 'clipserve_canary_checks_total{model="demo",verdict="missing"}'
    try:
        end = time.monotonic() + 120
        while guard.metric(late) < 30:
            assert time.monotonic() < end, "its callers do not keep it busy"
            time.sleep(0.2)
            assert guard.get("/readyz")[0] == 200, guard.words
            assert guard.get("/healthz")[0] == 200
        os.kill(service.triton_pid, signal.SIGSTOP)
        guard.becomes("/readyz", 503)
        guard.becomes("/healthz", 503)
        os.kill(service.triton_pid, signal.SIGCONT)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    guard.becomes("/readyz", 200)


def test_a_port_that_is_taken_is_named(live, tmp_path):
    port = live.http.rpartition(":")[2]
    with pytest.raises(AssertionError, match=f"cannot listen on 127.0.0.1:{port}"):
        start_guard(live.triton, tmp_path, "--http-port", port)
