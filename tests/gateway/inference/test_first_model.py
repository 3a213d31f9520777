from __future__ import annotations

import asyncio

import grpc
import pytest
from clipserve.v1 import clip_pb2, clip_pb2_grpc
from clipserve_gateway import errors
from clipserve_gateway.inference.first_model import KEY, FirstModel
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings

from testing.fakes import FakeBackend, FakeTriton, fake_models, towers
from testing.memory_engine import MemoryEngine

OTHER = towers(model="other", fingerprint="0" * 64)


def add(source, found):
    source.found |= {tower.triton_name: tower for tower in found}
    source.ready |= {tower.triton_name: True for tower in found}


def remove(source, model):
    for tower in ("image", "text"):
        del source.ready[f"{model}_{tower}"]


async def started(engine, source):
    """A gateway's models after its start, and the store of the first model."""
    first = FirstModel(engine)
    models = await fake_models(source, first=first)
    if first._agreeing is not None:
        await first._agreeing
    return models, first


async def test_the_first_model_answers_where_none_is_named_after_a_second_one_came():
    source = FakeTriton()
    models, _ = await started(MemoryEngine(), source)
    add(source, OTHER)
    await models.refresh()
    assert models.default == models.get("").name == "fake"


@pytest.mark.parametrize("both", [True, False])
async def test_other_gateways_and_later_starts_know_which_was_the_first(both):
    engine, source = MemoryEngine(), FakeTriton()
    await started(engine, source)
    add(source, OTHER)
    if not both:
        remove(source, "fake")
    models, _ = await started(engine, source)
    assert models.default == "fake"
    if not both:
        with pytest.raises(errors.ModelNotFound, match=r"'fake'.* CLIPSERVE_DEFAULT_MODEL"):
            models.get("")
        assert models.get("other").name == "other"
        add(source, towers())
        await models.refresh()
        assert models.get("").name == "fake"


async def test_of_several_at_the_very_first_start_one_must_be_named():
    models, first = await started(MemoryEngine(), FakeTriton(*towers(), *OTHER))
    assert (models.default, first.name) == ("", "")
    with pytest.raises(errors.InvalidInput, match="fake, other"):
        models.get("")


async def test_a_model_that_is_loaded_first_by_chance_is_not_the_first():
    source = FakeTriton(*towers(), *OTHER)
    source.ready["fake_text"] = False
    models, first = await started(MemoryEngine(), source)
    assert (models.default, first.name) == ("", "")


async def test_while_the_first_model_is_loaded_no_other_answers_for_it():
    engine, source = MemoryEngine(), FakeTriton()
    await started(engine, source)
    add(source, OTHER)
    source.ready["fake_text"] = False
    models, _ = await started(engine, source)
    with pytest.raises(errors.ModelLoading):
        models.get("")


async def test_a_set_default_wins_and_is_not_remembered():
    engine, source = MemoryEngine(), FakeTriton(*towers(), *OTHER)
    models = await fake_models(source, first=FirstModel(engine), default="other")
    assert models.get("").name == "other"
    assert await engine.get_document(KEY) is None


async def test_no_other_model_takes_the_place_of_a_first_one_that_is_gone():
    engine, source = MemoryEngine(), FakeTriton()
    models, first = await started(engine, source)
    add(source, OTHER)
    remove(source, "fake")
    for _ in range(3):
        await models.refresh()
    assert (models.default, first.name) == ("fake", "fake")
    with pytest.raises(errors.ModelNotFound, match=r"'fake'.*there are: other.* CLIPSERVE_DEFAULT_MODEL"):
        models.get("")
    add(source, towers())
    await models.refresh()
    assert models.get("").name == "fake"
    assert (await engine.get_document(KEY)).value == b"fake"


async def test_of_two_gateways_that_start_at_once_the_one_that_wrote_first_decides():
    engine = MemoryEngine()
    one, two = FirstModel(engine), FirstModel(engine)
    await asyncio.gather(one.settle({"a"}), two.settle({"b"}))
    for _ in range(3):
        for first, listed in ((one, {"a", "b"}), (two, {"a", "b"})):
            await first._agreeing
            await first.settle(listed)
    assert one.name == two.name == (await engine.get_document(KEY)).value.decode()


class BrokenEngine(MemoryEngine):
    """An engine whose first calls for documents fail."""

    failures = 2

    async def get_document(self, key):
        if self.failures:
            self.failures -= 1
            raise errors.StorageFailed("the disk is full")
        return await super().get_document(key)


async def test_an_engine_that_fails_is_asked_again_and_the_models_serve_on():
    engine, source = BrokenEngine(), FakeTriton()
    models, first = await started(engine, source)
    assert models.default == "fake"
    for _ in range(2):
        await models.refresh()
        await first._agreeing
    assert (await engine.get_document(KEY)).value == b"fake"
    await first.close()


async def test_an_engine_that_hangs_holds_the_start_up_for_a_moment_only(monkeypatch):
    class Hanging(MemoryEngine):
        async def get_document(self, key):
            await asyncio.Event().wait()

    monkeypatch.setattr("clipserve_gateway.inference.first_model.READ_SECONDS", 0.01)
    first = FirstModel(Hanging())
    models = await fake_models(FakeTriton(*towers(), *OTHER), first=first)
    assert models.get("other").name == "other"
    await first.close()


async def test_a_gateway_that_is_started_anew_answers_callers_that_name_none_as_before(tmp_path):
    source = FakeTriton()
    for start in range(2):
        settings = Settings(port=0, http_port=0, data=str(tmp_path))
        gateway = Gateway(settings, FakeBackend(source))
        await gateway.start()
        await gateway.begun()
        await gateway.models.refresh()
        await gateway.parts.first_model._agreeing
        if start == 0:
            add(source, OTHER)
            await gateway.models.refresh()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
            clip = clip_pb2_grpc.ClipServiceStub(channel)
            request = clip_pb2.EmbedRequest(inputs=[clip_pb2.EmbedInput(text="a dog")])
            assert (await clip.Embed(request)).model.name == "fake"
            info = await clip.GetServerInfo(clip_pb2.GetServerInfoRequest())
        assert (info.default_model, len(info.models)) == ("fake", 2)
        await gateway.stop(drain_seconds=0, grace_seconds=1)
