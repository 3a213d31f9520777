"""Tokens over real gRPC, around a fake encoder: who gets in, and how far."""

from __future__ import annotations

import asyncio
import logging
import time
from operator import attrgetter

import grpc
import numpy as np
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc, collection_pb2, collection_pb2_grpc
from clipserve_gateway.access.authorizer import Authorizer
from clipserve_gateway.access.methods import RPCS, methods_of
from clipserve_gateway.process import watched_files
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from testing.callers import METHODS, Caller, make, secret, send, write_tokens
from testing.fakes import DIM
from testing.wire import refusal

NAMING = sorted(name for name, rpc in RPCS.items() if rpc.names or rpc.collection)
DENIED, UNKNOWN = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED


def path_of(name: str) -> str:
    return f"/{METHODS[name].containing_service.full_name}/{name}"


def raw(caller: Caller, path: str, *, metadata=None):
    """Sends bytes that are no message to a method, whatever its kind: a refusal must not look at them."""
    return caller.channel.unary_unary(path)(b"\xff\xff", metadata=metadata or caller.metadata)


def rejected(gateway, reason: str) -> float | None:
    """How many calls were refused for that reason."""
    return gateway.metrics.registry.get_sample_value("clipserve_rejected_total", {"reason": reason})


async def in_time(condition, seconds: float = 5.0) -> float:
    """Seconds until the condition holds."""
    start = time.monotonic()
    while not await condition():
        assert time.monotonic() - start < seconds
        await asyncio.sleep(0.05)
    return time.monotonic() - start


async def refused(call) -> bool:
    """Whether the call failed for its token."""
    return await call.code() is UNKNOWN


def point(id: str = "a") -> collection_pb2.PointInput:
    return collection_pb2.PointInput(id=id, text="a dog")


@pytest.mark.parametrize("token", ["", "wrong-0123456789abcdef"])
async def test_without_a_known_token_every_rpc_is_refused_before_it_is_read(serve, calls, token):
    gateway = await serve("ops")
    stranger = calls(gateway)
    metadata = (("authorization", f"Bearer {token}"),) if token else None
    for name in METHODS:
        code, info, _ = await refusal(raw(stranger, path_of(name), metadata=metadata))
        assert (code, info.reason) == (UNKNOWN, "UNAUTHENTICATED"), name
        assert info.metadata["token"] == ("unknown" if token else "missing")
    assert rejected(gateway, "unauthenticated") == len(METHODS)


async def test_a_token_in_another_form_is_none(serve, calls):
    stranger = calls(await serve("ops"))
    for metadata in (
        (("authorization", secret("ops")),),
        (("authorization", f"Basic {secret('ops')}"),),
        (("authorization", "Bearer"),),
        (("authorization", "Bearer "),),
        (("authorization", f"Bearer {secret('ops')} more"),),
        (("authorization", f"Bearer {secret('ops')}"), ("authorization", f"Bearer {secret('ops')}")),
        (("authorization-bin", f"Bearer {secret('ops')}".encode()),),
        (("x-token", secret("ops")),),
    ):
        code, _, _ = await refusal(raw(stranger, path_of("GetServerInfo"), metadata=metadata))
        assert code is UNKNOWN, metadata


async def test_a_known_token_gets_in_and_its_garbage_is_called_garbage(serve, calls):
    stranger = calls(await serve("ops"))
    for scheme in ("Bearer", "bearer", "BEARER"):
        metadata = (("authorization", f"{scheme} {secret('ops')}"),)
        code, _, _ = await refusal(raw(stranger, path_of("GetServerInfo"), metadata=metadata))
        assert code is grpc.StatusCode.INVALID_ARGUMENT, scheme


async def test_health_needs_no_token_and_reflection_does(serve, calls):
    gateway = await serve("ops", "web methods=Search")
    for caller in (calls(gateway), calls(gateway, "web")):
        health = health_pb2_grpc.HealthStub(caller.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

    async def services(caller: Caller) -> int:
        stub = reflection_pb2_grpc.ServerReflectionStub(caller.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        call = stub.ServerReflectionInfo(iter([request]), metadata=caller.metadata)
        return len((await call.read()).list_services_response.service)

    assert await services(calls(gateway, "web")) == 5
    code, _, _ = await refusal(services(calls(gateway)))
    assert code is UNKNOWN


async def test_a_method_that_does_not_exist_is_unknown_to_those_who_may_come_in(serve, calls):
    gateway = await serve("ops")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await raw(calls(gateway, "ops"), "/clipserve.v1.ClipService/Draw")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    code, _, _ = await refusal(raw(calls(gateway), "/clipserve.v1.ClipService/Draw"))
    assert code is UNKNOWN


async def test_a_token_is_for_its_methods_alone(serve, calls):
    gateway = await serve("web methods=read,DeletePoints")
    web = calls(gateway, "web")
    for name in METHODS:
        code, info, _ = await refusal(raw(web, path_of(name)))
        if name in methods_of("read") | {"DeletePoints"}:
            assert code is grpc.StatusCode.INVALID_ARGUMENT, name
        else:
            assert (code, info.metadata["method"]) == (DENIED, name)


async def test_admin_rpcs_can_be_turned_off_for_all(serve, calls):
    with_tokens, without = await serve("ops", admin_rpcs=False), await serve(token_file="", admin_rpcs=False)
    for caller in (calls(with_tokens, "ops"), calls(without)):
        for name in METHODS:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await raw(caller, path_of(name))
            assert (raised.value.code() is DENIED) == (name in methods_of("admin")), name
            if raised.value.code() is DENIED:
                assert "CLIPSERVE_ADMIN_RPCS" in raised.value.details()
        assert len((await send(caller, "GetServerInfo")).models) == 1


def naming(name: str, collection: str):
    """A request that is complete but for its points, and names the collection wherever it names one."""
    request = GetMessageClass(METHODS[name].input_type)()
    for field in {*RPCS[name].names, RPCS[name].collection} - {""}:
        parent, _, leaf = field.rpartition(".")
        setattr(attrgetter(parent)(request) if parent else request, leaf, collection)
    return request


async def test_a_token_is_for_its_collections_alone(serve, calls):
    gateway = await serve("ops", "shop collections=shop_*")
    ops, shop = calls(gateway, "ops"), calls(gateway, "shop")
    await make(ops, "secret", "shop_pets", shop_door="secret", door="shop_pets")

    async def answer(method: str, collection: str) -> tuple[grpc.StatusCode, str]:
        try:
            await send(shop, method, naming(method, collection))
        except grpc.aio.AioRpcError as error:
            return error.code(), str(rpc_status.from_call(error))
        return grpc.StatusCode.OK, ""

    for method in NAMING:
        for forbidden in ("secret", "shop_door", "door", "nowhere", ""):
            code, details = await answer(method, forbidden)
            assert code is DENIED, (method, forbidden)
            assert forbidden == "secret" or "secret" not in details, "what an alias means is not told"
        assert (await answer(method, "shop_pets"))[0] is not DENIED, method


async def test_both_sides_of_an_alias_must_be_allowed(serve, calls):
    gateway = await serve("ops", "shop collections=shop_*")
    ops, shop = calls(gateway, "ops"), calls(gateway, "shop")
    await make(ops, "secret", "shop_pets")
    for alias, collection in (("shop_alias", "secret"), ("alias", "shop_pets"), ("alias", "secret")):
        code, _, _ = await refusal(make(shop, **{alias: collection}))
        assert code is DENIED, (alias, collection)
    await make(shop, shop_alias="shop_pets")


async def test_an_alias_of_others_is_not_moved_away_from_what_they_mean(serve, calls):
    gateway = await serve("ops", "shop collections=shop_*")
    ops, shop = calls(gateway, "ops"), calls(gateway, "shop")
    await make(ops, "secret", "shop_pets", shop_door="secret")
    code, _, _ = await refusal(make(shop, shop_door="shop_pets"))
    assert code is DENIED
    code, _, _ = await refusal(send(shop, "DeleteAlias", name="shop_door"))
    assert code is DENIED
    assert [alias.collection for alias in (await send(ops, "ListAliases")).aliases] == ["secret"]


async def test_lists_show_what_the_token_is_for(serve, calls):
    gateway = await serve("ops", "shop collections=shop_*")
    ops, shop = calls(gateway, "ops"), calls(gateway, "shop")
    await make(ops, "aa_secret", "shop_one", "shop_two", "zz_secret")
    await make(ops, shop_door="zz_secret", door="shop_one", shop_best="shop_two")
    seen, tokens = [], []
    page = await send(shop, "ListCollections", page_size=1)
    while page.collections:
        seen += [(it.name, list(it.aliases)) for it in page.collections]
        tokens.append(page.next_page_token)
        if not page.next_page_token:
            break
        page = await send(shop, "ListCollections", page_size=1, page_token=page.next_page_token)
    assert seen == [("shop_one", []), ("shop_two", ["shop_best"])]
    assert len(tokens) == 2, "no page is wasted on what is not shown"
    aliases = (await send(shop, "ListAliases")).aliases
    assert [(alias.name, alias.collection) for alias in aliases] == [("shop_best", "shop_two")]
    one = await send(shop, "GetCollection", name="shop_one")
    assert list(one.collection.aliases) == []
    assert len((await send(ops, "ListCollections")).collections) == 4
    assert list((await send(ops, "GetCollection", name="shop_one")).collection.aliases) == ["door"]


async def test_an_allowed_alias_of_an_allowed_collection_works(serve, calls):
    gateway = await serve("ops", "shop collections=shop_*")
    ops, shop = calls(gateway, "ops"), calls(gateway, "shop")
    await make(ops, "shop_v1", "shop_v2", shop_live="shop_v1")
    await send(shop, "UpsertPoints", collection="shop_live", points=[point()])
    response = await send(shop, "Search", collection="shop_live", text="a dog")
    assert [hit.id for hit in response.hits] == ["a"]
    assert (await send(ops, "CountPoints", collection="shop_v1")).count == 1
    # Another gateway moves the alias and drops what it meant; this one still believes in it for a second.
    catalog = gateway.parts.catalog
    believed = dict(catalog._aliases), dict(catalog._cache)
    await make(ops, shop_live="shop_v2")
    await send(ops, "DeleteCollection", name="shop_v1")
    catalog._aliases.update(believed[0])
    catalog._cache.update(believed[1])
    assert (await send(shop, "CountPoints", collection="shop_live")).count == 0


async def test_what_an_alias_means_a_moment_later_does_not_matter(serve, calls, monkeypatch):
    """Between the check and the work, someone lets the alias mean a collection that is not for this token."""
    gateway = await serve("ops", "shop collections=shop_*")
    ops, shop = calls(gateway, "ops"), calls(gateway, "shop")
    await make(ops, "secret", "shop_pets", shop_live="shop_pets")
    await send(ops, "UpsertPoints", collection="secret", points=[point("theirs")])
    await send(ops, "UpsertPoints", collection="shop_pets", points=[point("ours")])
    catalog, get = gateway.parts.catalog, gateway.parts.catalog.get
    asked = []

    async def moving(name, **options):
        spec = await get(name, **options)
        if not asked:
            asked.append(name)
            await catalog.put_alias("shop_live", "secret")
        return spec

    monkeypatch.setattr(catalog, "get", moving)
    response = await send(shop, "Search", collection="shop_live", text="a dog")
    assert asked == ["shop_live"]
    assert [hit.id for hit in response.hits] == ["ours"]
    code, _, _ = await refusal(send(shop, "Search", collection="shop_live", text="a dog"))
    assert code is DENIED


async def upserts(caller: Caller, *batches: tuple[str, int]):
    """The answers to a stream of batches for collections, each of so many points."""

    async def requests():
        for i, (collection, count) in enumerate(batches):
            points = [point(f"{i}-{j}") for j in range(count)]
            request = collection_pb2.UpsertPointsRequest(collection=collection, points=points)
            yield collection_pb2.UpsertPointsStreamRequest(batch_id=i, request=request)

    stub = collection_pb2_grpc.CollectionServiceStub(caller.channel)
    return [answer async for answer in stub.UpsertPointsStream(requests(), metadata=caller.metadata)]


async def test_every_message_of_a_stream_is_authorized(serve, calls):
    gateway = await serve("ops", "shop collections=shop_* methods=UpsertPointsStream")
    ops, shop = calls(gateway, "ops"), calls(gateway, "shop")
    await make(ops, "secret", "shop_pets", shop_door="secret")
    answers = await upserts(shop, ("shop_pets", 1), ("secret", 1), ("shop_door", 1), ("shop_pets", 1))
    assert [answer.status.reason for answer in answers] == ["", "PERMISSION_DENIED", "PERMISSION_DENIED", ""]
    assert (await send(ops, "CountPoints", collection="secret")).count == 0
    assert (await send(ops, "CountPoints", collection="shop_pets")).count == 2


async def test_the_authorizer_gets_the_messages_of_every_stream(serve, calls, monkeypatch):
    seen, authorize_and_run = [], Authorizer.authorize_and_run

    async def noting(self, caller, request, work):
        seen.append(request.DESCRIPTOR.name)
        return await authorize_and_run(self, caller, request, work)

    monkeypatch.setattr(Authorizer, "authorize_and_run", noting)
    ops = calls(await serve("ops"), "ops")
    streams = [name for name, method in METHODS.items() if method.client_streaming]
    for name in streams:
        await ops.channel.unary_unary(path_of(name))(b"", metadata=ops.metadata)
    assert seen == [name.removesuffix("Stream") + "Request" for name in streams]


async def test_over_its_rate_a_token_is_told_when_to_come_back(serve, calls):
    gateway = await serve("web rate=40 burst=20")
    web = calls(gateway, "web")
    inputs = [clip_pb2.EmbedInput(text=f"text {i}") for i in range(20)]
    await send(web, "Embed", inputs=inputs)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await send(web, "Embed", inputs=inputs)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    retry, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
    details = rpc_status.from_call(raised.value).details
    assert any(detail.Unpack(retry) for detail in details)
    assert any(detail.Unpack(info) for detail in details)
    assert (info.reason, dict(info.metadata)) == ("RATE_LIMITED", {"items_per_second": "40", "burst": "20"})
    assert 0.1 < retry.retry_delay.ToMilliseconds() / 1000 <= 0.5
    pushback = int(dict(raised.value.trailing_metadata())["grpc-retry-pushback-ms"])
    assert pushback == retry.retry_delay.ToMilliseconds()
    await asyncio.sleep(pushback / 1000 + 0.05)
    await send(web, "Embed", inputs=inputs)
    assert rejected(gateway, "rate_limited") == 1


async def test_the_rate_of_one_token_is_no_others(serve, calls):
    gateway = await serve("web rate=0.01", "app rate=0.01")
    for name in ("web", "app"):
        await send(calls(gateway, name), "GetServerInfo")


async def test_streams_are_slowed_down_instead_of_refused(serve, calls):
    gateway = await serve("ops", "web rate=50 burst=5")
    await make(calls(gateway, "ops"), "pets")
    start = time.monotonic()
    answers = await upserts(calls(gateway, "web"), *[("pets", 5)] * 5)
    assert [answer.status.reason for answer in answers] == [""] * 5
    assert time.monotonic() - start >= 0.4, "25 items, of which 5 at once and 50 a second"
    assert rejected(gateway, "rate_limited") is None


async def test_an_expired_token_is_refused_and_told_so(serve, calls):
    gateway = await serve("web expires=2020-01-01", "app expires=2100-01-01")
    code, info, _ = await refusal(send(calls(gateway, "web"), "GetServerInfo"))
    assert (code, info.metadata["token"]) == (UNKNOWN, "expired")
    await send(calls(gateway, "app"), "GetServerInfo")


async def test_tokens_change_without_a_restart(serve, calls, tmp_path):
    gateway = await serve("old", "ops")
    old, new = calls(gateway, "old"), calls(gateway, "new")
    assert await refused(send(new, "GetServerInfo"))
    write_tokens(tmp_path, "new methods=read", "ops")

    async def new_is_in() -> bool:
        return not await refused(send(new, "GetServerInfo"))

    assert await in_time(new_is_in) < 2.0
    assert await refused(send(old, "GetServerInfo"))
    code, _, _ = await refusal(send(new, "DeleteLabelSet"))
    assert code is DENIED


async def test_a_broken_token_file_changes_nothing_and_is_told_once(
    serve, calls, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(watched_files, "LOOK_SECONDS", 0.02)
    gateway = await serve("ops")
    (tmp_path / "tokens").write_text("ops too-short")

    async def told() -> bool:
        return any("stays in use" in record.getMessage() for record in caplog.records)

    await in_time(told)
    await asyncio.sleep(0.2)
    messages = [it.getMessage() for it in caplog.records if it.levelno >= logging.ERROR]
    assert len(messages) == 1
    assert f"token_file: {tmp_path / 'tokens'}: line 1: the token (word 2)" in messages[0]
    await send(calls(gateway, "ops"), "GetServerInfo")


async def test_a_token_withdrawn_during_a_stream_ends_with_the_next_message(
    serve, calls, tmp_path, monkeypatch
):
    monkeypatch.setattr(watched_files, "LOOK_SECONDS", 0.02)
    gateway = await serve("web")
    web = calls(gateway, "web")
    queue: asyncio.Queue[int | None] = asyncio.Queue()

    async def requests():
        while (number := await queue.get()) is not None:
            request = clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text="a dog")])
            yield clip_pb2.EmbedStreamRequest(batch_id=number, request=request)

    stream = clip_pb2_grpc.ClipServiceStub(web.channel).EmbedStream(requests(), metadata=web.metadata)
    queue.put_nowait(1)
    assert (await stream.read()).status.reason == ""
    write_tokens(tmp_path, "ops")

    async def withdrawn() -> bool:
        return await refused(send(calls(gateway, "web"), "GetServerInfo"))

    await in_time(withdrawn)
    queue.put_nowait(2)
    assert (await stream.read()).status.reason == "UNAUTHENTICATED"
    queue.put_nowait(None)


async def test_the_log_names_the_token_and_where_strangers_come_from(serve, calls, caplog):
    caplog.set_level(logging.INFO, "clipserve.access")
    gateway = await serve("web methods=read", "ops")
    await send(calls(gateway, "web"), "GetServerInfo")
    await refusal(send(calls(gateway, "web"), "DeleteLabelSet"))
    await refusal(send(calls(gateway), "GetServerInfo"))
    lines = [it.fields for it in caplog.records if it.name == "clipserve.access"]
    assert [line.get("token") for line in lines] == ["web", "web", None]
    assert [line["code"] for line in lines] == ["OK", "PERMISSION_DENIED", "UNAUTHENTICATED"]
    assert lines[1]["reason"] == "PERMISSION_DENIED"
    assert "peer" not in lines[0]
    assert all(line["peer"].startswith("ipv4:127.0.0.1:") for line in lines[1:])


async def test_without_tokens_everyone_may_do_everything(serve, calls):
    anyone = calls(await serve())
    await make(anyone, "pets", door="pets")
    vector = np.eye(DIM, dtype="<f4")[0].tobytes()
    assert (await send(anyone, "Search", collection="door", embedding={"float32_le": vector})).hits == []


@pytest.mark.parametrize(
    ("host", "lines", "warned"),
    [("127.0.0.1", ("ops",), False), ("0.0.0.0", ("ops",), True), ("0.0.0.0", (), False)],
)
async def test_tokens_in_the_clear_are_warned_of(serve, caplog, host, lines, warned):
    caplog.set_level(logging.INFO)
    await serve(*lines, host=host)
    assert any("in the clear" in record.getMessage() for record in caplog.records) is warned
    (line,) = [it.getMessage() for it in caplog.records if it.getMessage().startswith("listening")]
    assert f"no TLS, {'tokens' if lines else 'no tokens'}, metrics" in line
