"""A start that fails, with a fake gateway and a fake Triton."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.local import up
from clipserve_gateway.local.command import TritonPorts
from clipserve_gateway.local.triton_process import TritonFailed
from clipserve_gateway.settings import Settings

LOGS = [logging.getLogger(f"clipserve_gateway.triton.{name}") for name in ("breaker", "models", "replica")]


class FakeGateway:
    """Logs that Triton does not answer."""

    def __init__(self, settings: Settings) -> None:
        self.models = SimpleNamespace(ready=lambda: False)

    async def start(self) -> None:
        self.complain()

    async def stop(self, **_: float) -> None:
        self.complain()

    def complain(self) -> None:
        for log in LOGS:
            log.warning("no answer")


class FakeTriton:
    """Cannot be started."""

    address, pid, log = "127.0.0.1:1", 0, Path("/tmp/triton.log")

    def __init__(self, *_: Any) -> None:
        self.ends: list[str] = []
        made.append(self)

    async def start(self) -> None:
        raise TritonFailed("it holds no models")

    async def kill(self) -> None:
        self.ends.append("kill")

    async def stop(self) -> None:
        self.ends.append("stop")


made: list[FakeTriton] = []


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> None:
    async def manage_memory(_: object) -> None:
        await asyncio.sleep(100)

    made.clear()
    monkeypatch.setattr(up, "Gateway", FakeGateway)
    monkeypatch.setattr(up, "TritonProcess", FakeTriton)
    monkeypatch.setattr(up, "manage_memory", manage_memory)


async def run(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    ports = [TritonPorts(1, 2, 3), TritonPorts(4, 5, 6)]
    with pytest.raises(TritonFailed, match="it holds no models"):
        await up.run_on(settings, GuardSettings(), None, tmp_path, ports, None, asyncio.Event())  # type: ignore[arg-type]


@pytest.mark.usefixtures("stage")
async def test_the_gateway_does_not_complain_of_a_triton_that_did_not_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package = logging.getLogger("clipserve_gateway")
    package.setLevel(logging.WARNING)
    await run(tmp_path)
    assert not caplog.records
    FakeGateway(Settings()).complain()
    assert len(caplog.records) == len(LOGS), "as before"
    package.setLevel(logging.NOTSET)


@pytest.mark.usefixtures("stage")
async def test_after_a_failed_start_every_triton_is_killed_without_waiting(tmp_path: Path) -> None:
    await run(tmp_path)
    assert [triton.ends for triton in made] == [["kill", "stop"]] * 2


def test_a_model_that_is_refused_for_its_fingerprint_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    models = SimpleNamespace(all=list, refused={"liar": "model liar has the fingerprint of model demo"})
    gateway = SimpleNamespace(
        settings=Settings(),
        models=models,
        security=SimpleNamespace(words="plain"),
        port=1,
        http_port=2,
        api_address="",
    )
    up.announce(gateway, [], 1.0)  # type: ignore[arg-type]
    assert "✗ model liar has the fingerprint of model demo\n" in capsys.readouterr().err
