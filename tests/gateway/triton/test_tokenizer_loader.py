"""Tokenizers from Triton: loaded once, refused with a reason, and ended when no model uses them."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import logging
from collections.abc import AsyncIterator

import numpy as np
import pytest
from clipserve_gateway import errors
from clipserve_gateway.inputs.tokenizer import tokenizer_for
from clipserve_gateway.triton import tokenizer_loader
from clipserve_gateway.triton.canary import CanaryResult, Outcome
from clipserve_gateway.triton.model_config import parse_model
from clipserve_gateway.triton.tokenizer_loader import KEEP_SECONDS, TokenizerLoader
from clipserve_gateway.types import ModelSpec

from testing.clock import Clock
from testing.fakes import SPEC, FakeTriton, canary_parameters, fake_models, sums, towers
from testing.fleet import Fleet
from testing.golden_tokenizers import SPECS, bundle, packed

KIND = "clipa"
OWN = dataclasses.replace(SPEC, tokenizer=SPECS[KIND])


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
async def loader(clock: Clock) -> AsyncIterator[TokenizerLoader]:
    loader = TokenizerLoader(clock)
    yield loader
    loader.close()


def triton(content: bytes = packed(KIND)) -> FakeTriton:
    triton = FakeTriton()
    triton.bundles = {"fake": content, "twin": content}
    return triton


def is_loaded(spec: ModelSpec = OWN) -> bool:
    try:
        return bool(tokenizer_for(spec.tokenizer))
    except errors.ModelLoading:
        return False


async def test_a_tokenizer_is_loaded_once_for_all_models_and_replicas(loader):
    one, other = triton(), triton()
    twin = dataclasses.replace(OWN, name="twin")
    assert not is_loaded()
    asked = (loader.load(OWN, one), loader.load(twin, one), loader.load(OWN, other))
    assert await asyncio.gather(*asked) == [None] * 3
    assert one.bundles_sent + other.bundles_sent == 1
    [tokens] = tokenizer_for(OWN.tokenizer).encode(["a dog"])
    check = next(row for row in bundle(KIND)["checks"] if row["text"] == "a <|endoftext|> dog")
    assert tokens.ids[0] == check["ids"][0]


async def test_a_model_with_the_gateways_own_tokenizer_needs_none(loader):
    assert await loader.load(SPEC, source := triton()) is None
    assert not source.bundles_sent


@pytest.mark.parametrize(
    ("source", "outcome", "complaint"),
    [
        (triton(packed(KIND)[:-100]), Outcome.WRONG, "fake_tokenizer: the compressed file is cut"),
        (triton(packed("siglip2")), Outcome.WRONG, "fake_tokenizer: the SHA-256"),
        (FakeTriton(), Outcome.MISSING, "fake_tokenizer: Triton does not serve fake_tokenizer in version 1"),
    ],
    ids=["cut", "another", "missing"],
)
async def test_what_cannot_be_loaded_is_told_with_the_reason(loader, source, outcome, complaint):
    result = await loader.load(OWN, source)
    assert isinstance(result, CanaryResult)
    assert (result.outcome, result.tower) == (outcome, "fake_tokenizer")
    assert complaint in result.detail
    assert not is_loaded()


async def test_a_bad_one_is_asked_for_again_after_a_while(loader, clock):
    source = triton(b"bad")
    first = await loader.load(OWN, source)
    assert await loader.load(OWN, source) == first
    assert source.bundles_sent == 1
    source.bundles["fake"] = packed(KIND)
    clock.now += 31
    assert await loader.load(OWN, source) is None
    assert source.bundles_sent == 2


async def test_a_replica_with_a_bad_one_does_not_keep_another_from_loading_it(loader):
    bad, good = triton(b"bad"), triton()
    first, second = await asyncio.gather(loader.load(OWN, bad), loader.load(OWN, good))
    assert second is None
    assert is_loaded()
    assert first is None or first.outcome is Outcome.WRONG


async def test_a_model_with_a_bad_one_does_not_keep_its_twin_from_loading_it(loader):
    source = triton()
    source.bundles["fake"] = b"bad"
    failure = await loader.load(OWN, source)
    assert failure is not None
    assert await loader.load(dataclasses.replace(OWN, name="twin"), source) is None
    assert is_loaded()


async def test_one_that_no_triton_serves_is_kept_for_a_while_and_then_ended(loader, clock):
    await loader.load(OWN, triton())
    process = tokenizer_for(OWN.tokenizer)
    for _ in range(3):
        clock.now += KEEP_SECONDS - 1
        loader.keep({OWN.tokenizer})
    clock.now += KEEP_SECONDS - 1
    loader.keep(set())
    assert is_loaded()
    clock.now += 2
    loader.keep(set())
    assert not is_loaded()
    with pytest.raises(errors.ModelLoading):
        process.encode(["dog"])


async def test_closing_while_one_is_loaded_leaves_nothing(clock):
    loader = TokenizerLoader(clock)
    loading = asyncio.create_task(loader.load(OWN, triton()))
    await asyncio.sleep(0.05)
    loader.close()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert not is_loaded()


def own_parameters(kind: str = KIND) -> dict[str, str]:
    """Parameters of a model whose tokenizer comes from Triton; the fake's canary text is two tokens of it."""
    spec = SPECS[kind]
    canary_ids = [5, 6]
    return {
        **canary_parameters(),
        "tokenizer": "huggingface",
        "tokenizer_sha256": spec.sha256,
        "text_clean": spec.clean,
        "pad_id": str(spec.pad_id),
        **({} if spec.strip_id is None else {"strip_id": str(spec.strip_id)}),
        "vocab_size": str(spec.vocab_size),
        "context_length": str(spec.context_length),
        "text_length": "masked",
        "canary_text_ids": " ".join(map(str, canary_ids)),
        "canary_text_embedding": embedding_of(canary_ids),
    }


def embedding_of(ids: list[int]) -> str:
    """What FakeEncoder answers, as a parameter."""
    return base64.b64encode(sums(np.array([ids])).astype("<f4").tobytes()).decode()


@pytest.fixture
async def own_fleet() -> AsyncIterator[Fleet]:
    """Both replicas have `fake`, whose tokenizer they send, and `other`."""
    fleet = Fleet()
    for address in ("127.0.0.1:1", "127.0.0.1:2"):
        fake = fleet.connect(address)
        for tower in towers(**own_parameters()):
            fake.found[tower.triton_name] = tower
        fake.bundles["fake"] = packed(KIND)
    fleet.spec = parse_model(*towers(**own_parameters()))
    yield fleet
    await fleet.pool.close()


async def ready(fleet: Fleet, model: str = "fake", refreshes: int = 60) -> bool:
    """Whether a model gets ready within some refreshes."""
    for _ in range(refreshes):
        index = await fleet.refresh(0.5)
        if index[f"{model}_image"]:
            return True
    return False


async def test_a_model_is_ready_once_its_tokenizer_is_loaded(own_fleet):
    index = await own_fleet.refresh(0.01)
    assert not index["fake_image"], "the tokenizer is not loaded yet"
    assert await ready(own_fleet)
    assert is_loaded(own_fleet.spec)
    await own_fleet.ask()
    assert sum(fake.bundles_sent for fake in own_fleet.both) == 1


async def test_a_bad_tokenizer_leaves_only_its_model_not_ready_and_is_told_once(own_fleet, caplog):
    for fake in own_fleet.both:
        fake.bundles["fake"] = b"bad"
    with caplog.at_level(logging.WARNING):
        assert not await ready(own_fleet, refreshes=8)
        models = await fake_models(own_fleet.pool)
    assert await ready(own_fleet, "other")
    await own_fleet.ask(models.get("other"))
    with pytest.raises(errors.ModelLoading, match="'fake' is not ready"):
        models.get("fake")
    lines = [record.message for record in caplog.records if "fake_tokenizer" in record.message]
    assert [line.partition(": ")[0] for line in sorted(lines)] == [
        "fake_tokenizer cannot be used, export the model again",
        "replica 127.0.0.1:1",
        "replica 127.0.0.1:2",
    ]
    assert all(": it is not gzip" in line for line in lines)


async def test_a_new_version_waits_for_its_tokenizer_while_the_previous_one_serves(own_fleet, monkeypatch):
    monkeypatch.setattr(tokenizer_loader, "RETRY_SECONDS", dict.fromkeys(Outcome, 0.0))
    assert await ready(own_fleet)
    new = towers(**own_parameters("chinese_clip") | {"model_version": "2", "fingerprint": "e" * 64})
    for fake in own_fleet.both:
        del fake.bundles["fake"]
        for tower in new:
            fake.found[tower.triton_name] = tower
            fake.loaded[tower.triton_name] = frozenset({"1", "2"})
    for _ in range(3):
        index = await own_fleet.rerun_canaries()
        assert index["fake_image"] == {"1"}
        await own_fleet.ask()
    for fake in own_fleet.both:
        fake.bundles["fake"] = packed("chinese_clip")
    while (await own_fleet.rerun_canaries())["fake_image"] != {"2"}:
        await own_fleet.ask()
    assert is_loaded(parse_model(*new))
