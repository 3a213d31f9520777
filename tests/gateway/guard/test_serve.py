"""The guard's pages, metrics and log: what the kubelet, Prometheus and people hear of a Triton."""

from __future__ import annotations

import asyncio
import logging
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import pytest
from clipserve_gateway import errors
from clipserve_gateway.guard.serve import Guard, guard_until_signal
from clipserve_gateway.guard.settings import GuardSettings

from testing.fakes import FakeBackend

SETTINGS = GuardSettings(
    http_port=0, canary_seconds=0.01, canary_timeout_seconds=1, restart_after_seconds=0.2
)


class Watched:
    """A guard at work, and the Triton that it watches."""

    def __init__(self) -> None:
        self.triton = FakeBackend()
        self.guard = Guard(SETTINGS, self.triton)

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""

        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{self.guard.http.port}{path}", timeout=5
                ) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return await asyncio.to_thread(ask)

    async def becomes(self, path: str, status: int) -> str:
        """Waits until a page has that status; its text then."""
        for _ in range(500):
            found = await self.get(path)
            if found[0] == status:
                return found[1]
            await asyncio.sleep(0.01)
        raise AssertionError(f"{path} is {found}, not {status}")


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    watched = Watched()
    watched.guard.http.start()
    watching = asyncio.create_task(watched.guard.watch())
    yield watched
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await asyncio.to_thread(watched.guard.http.stop)


async def test_pages_follow_what_is_judged(watched):
    await watched.becomes("/readyz", 200)
    assert await watched.get("/healthz") == (200, "ok\n")
    watched.triton.source.error = errors.ModelUnavailable("nobody there")
    assert "model fake does not answer" in await watched.becomes("/readyz", 503)
    assert "nobody there" in await watched.becomes("/healthz", 503)
    assert (await watched.get("/alive"))[0] == 200
    watched.triton.source.error = None
    await watched.becomes("/readyz", 200)
    await watched.becomes("/healthz", 200)


async def test_metrics_tell_of_each_model_that_is_there(watched):
    await watched.becomes("/readyz", 200)
    metrics = (await watched.get("/metrics"))[1]
    assert 'clipserve_canary_ok{model="fake"} 1.0' in metrics
    assert 'clipserve_canary_checks_total{model="fake",verdict="unknown"}' in metrics
    assert 'clipserve_canary_seconds_count{model="fake"}' in metrics
    watched.triton.source.ready = {}
    assert await watched.becomes("/readyz", 503) == "Triton serves no model\n"
    assert "clipserve_canary_ok{" not in (await watched.get("/metrics"))[1]


async def test_changes_are_logged_once(watched, caplog):
    caplog.set_level(logging.INFO, "clipserve_gateway.guard")
    await watched.becomes("/readyz", 200)
    watched.triton.source.error = errors.ModelUnavailable("nobody there")
    await watched.becomes("/healthz", 503)
    await asyncio.sleep(0.1)
    ours = [each for each in caplog.records if each.name.startswith("clipserve_gateway.guard")]
    heads = [(each.levelname, each.getMessage().partition(":")[0]) for each in ours]
    assert heads == [
        ("INFO", "model fake is served"),
        ("INFO", "Triton is ready"),
        ("ERROR", "model fake does not answer"),
        ("ERROR", "Triton is not ready"),
        ("ERROR", "Triton must be restarted"),
    ]


async def test_a_model_that_triton_loads_is_no_warning(caplog):
    caplog.set_level(logging.INFO, "clipserve_gateway.guard")
    watched = Watched()
    watched.triton.source.ready["fake_text"] = False
    watching = asyncio.create_task(watched.guard.watch())
    for _ in range(500):
        if caplog.records:
            break
        await asyncio.sleep(0.01)
    watching.cancel()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "model fake is not served yet: Triton has not loaded it")
    ]


async def test_other_pages_are_not_there(watched):
    status, text = await watched.get("/nope")
    assert (status, text) == (404, "the pages are /readyz, /healthz, /alive and /metrics\n")


async def test_a_taken_port_is_told(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert await guard_until_signal(GuardSettings(http_port=port)) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
