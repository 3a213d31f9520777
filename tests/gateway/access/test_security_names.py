"""Grants for label sets and models, and error texts that name nothing that a token may not see."""

from __future__ import annotations

import grpc
import pytest
from clipserve.v1 import clip_pb2, collection_pb2
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from testing.callers import METHODS, Caller, make, send, write_tokens
from testing.fakes import FakeBackend, FakeEncoder, FakeTriton, towers

DENIED = grpc.StatusCode.PERMISSION_DENIED
IMAGE = collection_pb2.PointInput(id="a", text="a dog")
LABELS = clip_pb2.LabelSet(names=["a dog", "a cat"])


class TwoModels:
    """Two gateways' worth of models behind one: `shared` and `secret`."""

    def __init__(self) -> None:
        self.triton = FakeTriton(*towers(model="shared"), *towers(model="secret", fingerprint="e" * 64))


@pytest.fixture
async def gateway(tmp_path):
    """A gateway with two models, no default, and tokens of several grants."""
    lines = (
        "ops",
        "shop collections=shop_* labels=shop.* models=shared",
        "one models=shared",
        "labels labels=shop.*",
        "old collections=shop_*",
    )
    settings = Settings(
        port=0, http_port=0, data=str(tmp_path / "data"), token_file=str(write_tokens(tmp_path, *lines))
    )
    started = Gateway(settings, FakeBackend(TwoModels().triton, FakeEncoder()))
    await started.start()
    await started.models.refresh()
    yield started
    await started.stop(drain_seconds=0, grace_seconds=1)


async def answered(call) -> tuple[grpc.StatusCode, str]:
    """A call's status and all that it says, details included."""
    try:
        return grpc.StatusCode.OK, str(await call)
    except grpc.aio.AioRpcError as error:
        return error.code(), f"{error.details()} {rpc_status.from_call(error)}"


async def told(caller: Caller, method: str, /, **fields: object) -> tuple[grpc.StatusCode, str]:
    return await answered(send(caller, method, **fields))


def same(words: str, name: str) -> str:
    """The words without the name that was asked for."""
    return words.replace(name, "NAME")


async def prepare(ops: Caller) -> None:
    for name, model in (("shop_a", "shared"), ("shop_hidden", "secret"), ("private_x", "shared")):
        await send(ops, "CreateCollection", name=name, model=model)
    await make(ops, secret_launch="shop_a", shop_alias="shop_hidden", shop_ok="shop_a")
    for name in ("shop.birds", "private.plans"):
        await send(ops, "PutLabelSet", name=name, labels=LABELS)


async def test_an_error_names_no_alias_that_the_token_may_not_see(gateway, calls):
    ops, shop = calls(gateway, "ops"), calls(gateway, "old")
    await prepare(ops)
    code, words = await told(shop, "DeleteCollection", name="shop_a")
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "secret_launch" not in words
    assert "shop_ok" in words
    await send(ops, "DeleteAlias", name="shop_ok")
    code, words = await told(shop, "DeleteCollection", name="shop_a")
    assert (code, "secret_launch" in words) == (grpc.StatusCode.FAILED_PRECONDITION, False)
    code, words = await told(ops, "DeleteCollection", name="shop_a")
    assert "secret_launch" in words


@pytest.mark.parametrize(
    ("method", "field", "there", "nowhere"),
    [
        ("GetCollection", "name", "private_x", "private_n"),
        ("DeleteCollection", "name", "private_x", "private_n"),
        ("CreateCollection", "name", "private_x", "private_n"),
        ("GetCollection", "name", "secret_launch", "secret_nobody"),
        ("DeleteAlias", "name", "secret_launch", "secret_nobody"),
        ("Search", "collection", "private_x", "private_n"),
        ("CountPoints", "collection", "private_x", "private_n"),
        ("GetThumbnail", "collection", "private_x", "private_n"),
        ("StartMigration", "collection", "private_x", "private_n"),
        ("Embed", "model", "secret", "nobody"),
        ("Classify", "model", "secret", "nobody"),
        ("PutLabelSet", "name", "private.plans", "private.nones"),
    ],
)
async def test_a_refusal_has_the_same_words_whether_it_exists_or_not(
    gateway, calls, method, field, there, nowhere
):
    ops, shop = calls(gateway, "ops"), calls(gateway, "shop")
    await prepare(ops)
    more = {"model": "shared"} if method == "CreateCollection" else {}
    if method == "StartMigration":
        more = {"to_model": "shared"}
    refusals = [await told(shop, method, **{field: name}, **more) for name in (there, nowhere)]
    assert [code for code, _ in refusals] == [DENIED, DENIED]
    assert same(refusals[0][1], there) == same(refusals[1][1], nowhere)


@pytest.mark.parametrize("method", ["GetLabelSet", "DeleteLabelSet"])
async def test_a_label_set_of_others_is_neither_read_nor_deleted(gateway, calls, method):
    ops, shop = calls(gateway, "ops"), calls(gateway, "labels")
    await prepare(ops)
    refusals = []
    for name in ("private.plans", "private.nones"):
        code, words = await told(shop, method, ref=clip_pb2.LabelSetRef(name=name))
        assert code is DENIED
        refusals.append(same(words, name))
    assert refusals[0] == refusals[1]
    assert (await told(shop, method, ref=clip_pb2.LabelSetRef(name="shop.birds")))[0] is grpc.StatusCode.OK
    named = [info.ref.name for info in (await send(ops, "ListLabelSets")).label_sets]
    assert "private.plans" in named


async def test_label_sets_are_for_classify_as_the_token_says(gateway, calls):
    ops, shop = calls(gateway, "ops"), calls(gateway, "shop")
    await prepare(ops)
    image = clip_pb2.ClassifyRequest.DESCRIPTOR.fields_by_name["images"]
    pixels = GetMessageClass(image.message_type)()
    pixels.raw.rgb, pixels.raw.width, pixels.raw.height = bytes(3), 1, 1
    fields = {"model": "shared", "images": [pixels]}
    code, words = await told(shop, "Classify", label_set=clip_pb2.LabelSetRef(name="private.plans"), **fields)
    assert (code, "private.plans" in words) == (DENIED, True)
    for chosen in ({"label_set": clip_pb2.LabelSetRef(name="shop.birds")}, {"labels": LABELS}):
        assert (await told(shop, "Classify", **chosen, **fields))[0] is grpc.StatusCode.OK


async def test_lists_show_only_label_sets_and_models_of_the_token(gateway, calls):
    ops, shop, one, old = (calls(gateway, name) for name in ("ops", "shop", "one", "old"))
    await prepare(ops)
    for caller, sets in ((shop, ["shop.birds"]), (ops, ["private.plans", "shop.birds"])):
        listed = await send(caller, "ListLabelSets", page_size=1)
        names = [info.ref.name for info in listed.label_sets]
        while listed.next_page_token:
            listed = await send(caller, "ListLabelSets", page_size=1, page_token=listed.next_page_token)
            names += [info.ref.name for info in listed.label_sets]
        assert names == sets
    for caller, models in ((shop, ["shared"]), (one, ["shared"]), (old, ["secret", "shared"])):
        info = await send(caller, "GetServerInfo")
        assert [model.ref.name for model in info.models] == models
    names = [it.name for it in (await send(one, "ListCollections")).collections]
    assert names == ["private_x", "shop_a"]
    aliases = [alias.name for alias in (await send(one, "ListAliases")).aliases]
    assert aliases == ["secret_launch", "shop_ok"]
    aliases = [alias.name for alias in (await send(ops, "ListAliases")).aliases]
    assert aliases == ["secret_launch", "shop_alias", "shop_ok"]


async def test_errors_list_only_the_models_of_the_token(gateway, calls):
    ops, one = calls(gateway, "ops"), calls(gateway, "one")
    text = clip_pb2.EmbedInput(text="a dog")
    for caller, shown in ((one, False), (ops, True)):
        code, words = await told(caller, "Embed", inputs=[text])
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "shared" in words
        assert ("secret" in words) is shown
    assert (await told(one, "Embed", model="shared", inputs=[text]))[0] is grpc.StatusCode.OK


async def test_a_default_model_of_others_is_refused_and_not_named(tmp_path, calls):
    path = write_tokens(tmp_path, "one models=shared", "ops")
    settings = Settings(
        port=0, http_port=0, data=str(tmp_path / "data"), token_file=str(path), default_model="secret"
    )
    gateway = Gateway(settings, FakeBackend(TwoModels().triton, FakeEncoder()))
    await gateway.start()
    try:
        await gateway.models.refresh()
        one = calls(gateway, "one")
        code, words = await told(one, "Embed", inputs=[clip_pb2.EmbedInput(text="a")])
        assert (code, "secret" in words) == (DENIED, False)
        assert (await send(one, "GetServerInfo")).default_model == ""
        assert (await send(calls(gateway, "ops"), "GetServerInfo")).default_model == "secret"
    finally:
        await gateway.stop(drain_seconds=0, grace_seconds=1)


async def test_a_collection_is_for_a_token_that_is_for_its_model(gateway, calls):
    ops, one = calls(gateway, "ops"), calls(gateway, "one")
    await prepare(ops)
    for name, code in (("shop_a", grpc.StatusCode.OK), ("shop_hidden", DENIED), ("shop_alias", DENIED)):
        for method, fields in (
            ("GetCollection", {"name": name}),
            ("CountPoints", {"collection": name}),
            ("UpsertPoints", {"collection": name, "points": [IMAGE]}),
            ("Search", {"collection": name, "text": "a dog"}),
        ):
            answered, words = await told(one, method, **fields)
            assert answered is code, (method, name)
            assert code is not DENIED or "'secret'" not in words
    assert (await told(one, "DeleteAlias", name="shop_alias"))[0] is DENIED
    assert (await told(one, "PutAlias", alias=collection_pb2.Alias(name="mine", collection="shop_hidden")))[
        0
    ] is DENIED
    assert (await told(one, "StartMigration", collection="shop_a", to_model="secret"))[0] is DENIED
    assert (await told(one, "CreateCollection", name="another", model="secret"))[0] is DENIED


async def test_a_migration_is_for_tokens_of_both_models(gateway, calls):
    ops, one = calls(gateway, "ops"), calls(gateway, "one")
    await prepare(ops)
    await send(ops, "UpsertPoints", collection="shop_a", points=[IMAGE])
    assert (await told(one, "GetCollection", name="shop_a"))[0] is grpc.StatusCode.OK
    await send(ops, "CreateCollection", name="moving", model="shared", keep_sources=True)
    await send(ops, "UpsertPoints", collection="moving", points=[IMAGE])
    await send(ops, "StartMigration", collection="moving", to_model="secret")
    for method in ("GetCollection", "EndMigration", "CountPoints"):
        field = "name" if method == "GetCollection" else "collection"
        code, words = await told(one, method, **{field: "moving"})
        assert (code, "'secret'" in words) == (DENIED, False), method
    assert "moving" not in [it.name for it in (await send(one, "ListCollections")).collections]
    await send(ops, "EndMigration", collection="moving")


def test_every_field_that_names_a_model_or_a_label_set_is_authorized():
    from clipserve_gateway.access.methods import RPCS

    for name, method in METHODS.items():
        fields = method.input_type.fields_by_name
        models = [field for field in fields if field in ("model", "to_model")]
        assert [RPCS[name].model] == (models or [""]), name
        sets = [
            field.name + ".name"
            for field in fields.values()
            if field.message_type is not None and field.message_type.name == "LabelSetRef"
        ]
        if name == "PutLabelSet":
            sets = ["name"]
        assert [RPCS[name].label_set] == (sets or [""]), name
