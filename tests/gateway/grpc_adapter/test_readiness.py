"""Whether a gateway takes calls: what all gateways share does not decide that, a wrong setting does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc
from clipserve_gateway import errors
from clipserve_gateway.errors import StorageFailed, StorageRefused, StorageUnavailable
from clipserve_gateway.grpc_adapter import readiness
from clipserve_gateway.grpc_adapter.health import CALLS_SERVICE, MODEL_SERVICE
from clipserve_gateway.index.lance.commits import storage_failed
from clipserve_gateway.index.milvus.connection import MilvusConnection
from clipserve_gateway.index.milvus.options import MilvusOptions
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings

from testing.fakes import FakeBackend, FakeTriton, towers


def gateway(folder: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception | None]) -> Gateway:
    """One whose engine cannot be opened while there is an error."""
    running = Gateway(Settings(port=0, http_port=0, data=str(folder)), FakeBackend())
    engine = running.parts.engine._engine
    opening = engine.open

    async def open() -> None:
        if (why := error()) is not None:
            raise why
        await opening()

    monkeypatch.setattr(engine, "open", open)
    return running


def engine_up(gateway: Gateway) -> float | None:
    return gateway.metrics.registry.get_sample_value("clipserve_engine_up")


@pytest.mark.parametrize("error", [StorageUnavailable("Milvus does not answer"), StorageFailed("disk")])
async def test_an_engine_that_is_away_leaves_the_gateway_ready(tmp_path, monkeypatch, error) -> None:
    running = gateway(tmp_path, monkeypatch, lambda: error)
    await running.start()
    await running.begun()
    assert running.parts.readiness.unready() == ""
    assert engine_up(running) == 0
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        request = clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text="a dog")])
        assert len((await clip_pb2_grpc.ClipServiceStub(channel).Embed(request)).results) == 1
    await running.stop(drain_seconds=0, grace_seconds=0)


async def test_only_an_engine_elsewhere_is_waited_for(tmp_path, monkeypatch) -> None:
    for remote in (True, False):
        running = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend())
        running.parts.readiness._remote = remote
        opened = asyncio.Event()
        monkeypatch.setattr(running.parts.engine._engine, "open", opened.wait)
        await running.start()
        await running.models.looked.wait()
        assert (running.parts.readiness.unready() == "opening the index") is remote
        opened.set()
        await running.begun()
        assert running.parts.readiness.unready() == ""
        await running.stop(drain_seconds=0, grace_seconds=0)


async def test_an_engine_that_hangs_is_not_waited_for(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(readiness, "OPEN_SECONDS", 0.05)
    running = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend())
    monkeypatch.setattr(running.parts.engine._engine, "open", asyncio.Event().wait)
    await running.start()
    await running.begun()
    assert running.parts.readiness.unready() == ""
    await running.stop(drain_seconds=0, grace_seconds=0)


async def test_an_engine_that_refuses_late_is_heard(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(readiness, "OPEN_SECONDS", 0.05)
    running = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend())
    late = asyncio.Event()

    async def open() -> None:
        await late.wait()
        raise StorageRefused("no such database")

    monkeypatch.setattr(running.parts.engine._engine, "open", open)
    await running.start()
    await running.begun()
    assert running.parts.readiness.unready() == ""
    late.set()
    while not running.parts.readiness.unready():
        await asyncio.sleep(0.01)
    assert running.parts.health._statuses[CALLS_SERVICE] == 2
    await running.stop(drain_seconds=0, grace_seconds=0)


async def test_an_engine_that_refuses_the_gateway_stops_its_rollout(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(readiness, "AGAIN_SECONDS", 0.01)
    refusals: list[Exception | None] = [StorageRefused("wrong credentials")]
    running = gateway(tmp_path, monkeypatch, lambda: refusals[-1])
    await running.start()
    await running.begun()
    assert running.parts.readiness.unready() == "the index refuses this gateway: wrong credentials"
    assert engine_up(running) == 0
    refusals.append(None)
    while running.parts.readiness.unready():
        await asyncio.sleep(0.01)
    assert engine_up(running) == 1
    await running.stop(drain_seconds=0, grace_seconds=0)
    assert running.parts.readiness.unready() == "shutting down"


async def test_readyz_is_the_health_that_clients_watch(tmp_path) -> None:
    backend = FakeBackend()
    backend.source.error = errors.ServerUnavailable("no Triton at all")
    running = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), backend)
    assert running.parts.readiness.unready() != ""
    assert running.parts.health._statuses[CALLS_SERVICE] == 2
    await running.start()
    await running.begun()
    assert running.parts.readiness.unready() == ""
    assert running.parts.health._statuses[CALLS_SERVICE] == 1
    await running.stop(drain_seconds=0, grace_seconds=0)
    assert running.parts.readiness.unready() != ""
    assert running.parts.health._statuses[CALLS_SERVICE] == 2


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ("Generic S3 error: status: 403 Forbidden, InvalidAccessKeyId", True),
        ("LanceError(IO): Permission denied (os error 13)", True),
        ("the request failed: NoSuchBucket: The specified bucket does not exist", True),
        ("No space left on device (os error 28)", False),
        ("error sending request for url (http://127.0.0.1:9): connection refused", False),
    ],
)
def test_what_the_store_says_tells_refusals_from_failures(message: str, refused: bool) -> None:
    assert (type(storage_failed(OSError(message))) is StorageRefused) is refused


class MilvusError(Exception):
    def __init__(self, code: object) -> None:
        super().__init__("auth check failure, please check username and password")
        self.code = code


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (lambda: grpc.StatusCode.UNAUTHENTICATED, StorageRefused),
        (lambda: grpc.StatusCode.PERMISSION_DENIED, StorageRefused),
        (800, StorageRefused),
        (lambda: grpc.StatusCode.UNAVAILABLE, StorageUnavailable),
        (1100, StorageFailed),
    ],
)
def test_what_milvus_says_does_too(code: object, kind: type[Exception]) -> None:
    connection = MilvusConnection(MilvusOptions("http://127.0.0.1:9"))
    assert type(connection._translated(MilvusError(code))) is kind


async def test_the_health_of_a_model_goes_with_it(tmp_path) -> None:
    backend = FakeBackend(FakeTriton(*towers(), *towers(model="bad", embed_dim="many")))
    running = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), backend)
    await running.models.refresh()
    statuses = running.parts.health._statuses
    assert (statuses[f"{MODEL_SERVICE}fake"], statuses[f"{MODEL_SERVICE}bad"]) == (1, 2)
    for name in ("bad_image", "bad_text"):
        del backend.source.ready[name]
    await running.models.refresh()
    assert f"{MODEL_SERVICE}bad" not in statuses
    assert statuses[f"{MODEL_SERVICE}fake"] == 1
    await running.stop(drain_seconds=0, grace_seconds=0)
