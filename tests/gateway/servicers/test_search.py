"""Search, where collections change under it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from clipserve.v1 import clip_pb2, collection_pb2
from clipserve_gateway.access.call import Call
from clipserve_gateway.assembly import Parts, assemble
from clipserve_gateway.settings import Settings
from google.protobuf.message import Message

from testing.direct_calls import QueueTransport, method_named
from testing.fakes import FakeBackend


def run(parts: Parts, name: str, request: Message) -> asyncio.Task[str]:
    """Runs a call; its status code."""

    async def serve() -> str:
        method = method_named(parts, name)
        call = Call(name, "ipv4:127.0.0.1:1", [], None)
        async with parts.runner.running(call) as outcome:
            await parts.runner.answer(call, method, QueueTransport(request))
        return outcome.code

    return asyncio.create_task(serve())


async def test_an_alias_that_moves_before_its_old_collection_is_deleted_is_searched(tmp_path: Path) -> None:
    backend, begun, go_on = FakeBackend(), asyncio.Event(), asyncio.Event()
    parts = assemble(Settings(data=str(tmp_path)), backend)
    await parts.models.refresh()
    for name in ("old", "new"):
        assert await run(parts, "CreateCollection", collection_pb2.CreateCollectionRequest(name=name)) == "OK"

    def alias(target: str) -> Message:
        return collection_pb2.PutAliasRequest(alias=collection_pb2.Alias(name="live", collection=target))

    assert await run(parts, "PutAlias", alias("old")) == "OK"
    encode = backend.encode

    async def wait_and_encode(*args: Any, **options: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await encode(*args, **options)

    backend.encode = wait_and_encode  # type: ignore[method-assign]
    search = run(parts, "Search", clip_pb2.SearchRequest(collection="live", text="dog"))
    await asyncio.wait_for(begun.wait(), 10)
    assert await run(parts, "PutAlias", alias("new")) == "OK"
    assert await run(parts, "DeleteCollection", collection_pb2.DeleteCollectionRequest(name="old")) == "OK"
    go_on.set()
    assert await search == "OK"
    for part in (parts.statistics, parts.catalog, parts.migrator):
        await part.close()
