"""Addresses, paths and the words of other servers are for the log, not for callers."""

from __future__ import annotations

import logging

import grpc
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc
from clipserve_gateway.convert.status import item_status, rpc_status
from clipserve_gateway.errors import ClipserveError, InferenceFailed, Overloaded, StorageUnavailable
from clipserve_gateway.index.lance.commits import storage_failed
from clipserve_gateway.index.milvus.connection import MilvusConnection
from clipserve_gateway.index.milvus.options import MilvusOptions
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings
from clipserve_gateway.triton.client import translate

from testing.fakes import FakeBackend, FakeEncoder

PATH = "/srv/tenants/private_x.lance"
ADDRESS = "10.7.7.7:19530"


def triton_error(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), f"File {PATH}, line 3")


ERRORS = [
    storage_failed(OSError(f"Generic LocalFileSystem error: {PATH} (os error 5)")),
    storage_failed(OSError(f"{PATH}: no space left on device")),
    MilvusConnection(MilvusOptions(f"http://{ADDRESS}"))._translated(RuntimeError(f"bad table {PATH}")),
    MilvusConnection(MilvusOptions(f"http://{ADDRESS}"))._unavailable("try again", "refused"),
    translate(triton_error(grpc.StatusCode.INTERNAL)),
    translate(triton_error(grpc.StatusCode.NOT_FOUND)),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.message[:30])
def test_callers_hear_neither_paths_nor_addresses(error):
    assert isinstance(error, ClipserveError)
    told = f"{rpc_status(error)} {item_status(error, 'images[0]')}"
    assert PATH not in told
    assert ADDRESS not in told
    assert PATH in error.logged or ADDRESS in error.logged


def test_an_error_that_is_placed_keeps_what_it_has():
    placed = Overloaded("full", retry_after=7.0, metadata={"limit": "a"}).at("request")
    assert (placed.field, placed.retry_after, placed.metadata) == ("request", 7.0, {"limit": "a"})
    first = StorageUnavailable("away", detail=ADDRESS, field="[2].content")
    assert (first.at("images").field, first.at("images").detail) == ("images[2].content", ADDRESS)
    assert first.field == "[2].content"


async def test_the_log_has_the_detail_of_a_failed_call(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "clipserve.access")
    gateway = Gateway(
        Settings(port=0, http_port=0, data=str(tmp_path / "data")), FakeBackend(encoder=FakeEncoder())
    )
    await gateway.start()
    try:
        await gateway.models.refresh()

        async def failing(*_: object, **__: object) -> None:
            raise InferenceFailed("the inference server refused the input", detail=PATH)

        monkeypatch.setattr(Embedder, "embed", failing)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await clip_pb2_grpc.ClipServiceStub(channel).Embed(
                    clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text="a")])
                )
    finally:
        await gateway.stop(drain_seconds=0, grace_seconds=1)
    assert PATH not in f"{raised.value.details()} {raised.value.trailing_metadata()}"
    [fields] = [record.fields for record in caplog.records if record.message == "call"]
    assert PATH in fields["error"]
