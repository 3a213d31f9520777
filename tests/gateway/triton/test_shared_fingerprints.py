from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest
from clipserve_gateway import errors
from clipserve_gateway.triton.model_config import parse_model
from clipserve_gateway.triton.models import Models
from clipserve_gateway.triton.shared_fingerprints import conflicts, difference
from clipserve_gateway.types import Canary, ModelSpec, Preprocess, TokenizerSpec

from testing.fakes import SPEC, FakeTriton, canary_parameters, fake_models, towers

GOOD = parse_model(*towers(**canary_parameters()))
SHARED = {"fingerprint": SPEC.fingerprint}


def named(name: str, **changes: object) -> ModelSpec:
    return replace(GOOD, name=name, **changes)


def with_canary(**changes: object) -> Canary:
    assert GOOD.canary is not None
    return replace(GOOD.canary, **changes)


def other_answer(embedding: bytes) -> bytes:
    """An embedding that points elsewhere."""
    return (-np.frombuffer(embedding, "<f4")).tobytes()


def noisy(embedding: bytes, relative: float) -> bytes:
    values = np.frombuffer(embedding, "<f4")
    return (values * (1 + relative * (-1) ** np.arange(len(values)))).astype("<f4").tobytes()


def test_two_exports_of_one_model_share_its_fingerprint():
    assert GOOD.canary is not None
    rounded = with_canary(
        image_embedding=noisy(GOOD.canary.image_embedding, 1e-3),
        text_embedding=noisy(GOOD.canary.text_embedding, 1e-3),
    )
    twins = (
        named("bf16", precision="bf16", canary=rounded, fixed_text_length=True, version="7"),
        named("old", tokenizer=replace(GOOD.tokenizer, special_tokens="open_clip")),
        named("rounded", logit_scale=GOOD.logit_scale * (1 + 1e-9)),
    )
    assert conflicts([GOOD, *twins], {}, "") == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embed_dim": 4}, "embed_dim"),
        ({"preprocess": Preprocess(8, 8)}, "preprocessing"),
        ({"tokenizer": TokenizerSpec(32)}, "tokenizer"),
        ({"logit_scale": 21.0}, "logit_scale, 21.0 and 20.0"),
        ({"logit_bias": -10.0}, "logit_bias, -10.0 and None"),
        ({"canary": None}, "liar has no canary"),
        ({"canary": with_canary(text="another text")}, "different inputs"),
        ({"canary": with_canary(image=b"no image")}, "different inputs"),
        (
            {"canary": with_canary(image_embedding=other_answer(GOOD.canary.image_embedding))},
            "image canary's recorded answers differ: cosine",
        ),
        (
            {"canary": with_canary(text_embedding=noisy(GOOD.canary.text_embedding, 0.5))},
            "text canary's recorded answers differ",
        ),
    ],
)
def test_a_model_that_differs_from_the_one_with_its_fingerprint_is_refused(changes, words):
    liar = named("liar", **changes)
    # Whatever the order, the one that is served stays.
    for specs in ([GOOD, liar], [liar, GOOD]):
        refused = conflicts(specs, {"fake": GOOD}, "")
        assert list(refused) == ["liar"]
        assert refused["liar"].startswith("model liar has the fingerprint of model fake (ffffffffffff…)")
        assert words in refused["liar"]
    assert difference(GOOD, GOOD) == ""


def test_the_model_that_is_kept_does_not_depend_on_their_order():
    first, second = named("a", embed_dim=4, canary=None), named("b")
    third = named("c", logit_scale=1.0)
    for specs in ([first, second, third], [third, second, first]):
        assert set(conflicts(specs, {}, "")) == {"a", "c"}, "the first by name with a canary stays"
        assert set(conflicts(specs, {}, "c")) == {"a", "b"}, "the default model before others"
        assert set(conflicts(specs, {"b": second}, "c")) == {"a", "c"}, "a served model before it"


async def lying(models_source: FakeTriton) -> Models:
    """Models of a Triton that also serves a liar, after the honest model."""
    models = await fake_models(models_source)
    found = towers(model="liar", **SHARED, **(canary_parameters() | {"canary_text": "other"}))
    models_source.found |= {tower.triton_name: tower for tower in found}
    models_source.ready |= {tower.triton_name: True for tower in found}
    await models.refresh()
    return models


async def test_a_model_with_anothers_fingerprint_is_not_ready_and_the_other_serves_on(caplog):
    models = await lying(FakeTriton(*towers(**canary_parameters())))
    assert models.get("fake").name == "fake"
    with pytest.raises(errors.ModelUnavailable):
        models.get("liar")
    assert models.readiness() == {"fake": True, "liar": False}
    assert "liar not ready: model liar has the fingerprint of model fake" in models.status()
    assert [record.levelname for record in caplog.records if "liar has the" in record.message] == ["WARNING"]


async def test_while_a_model_loads_again_no_other_takes_its_fingerprint():
    source = FakeTriton(*towers(**canary_parameters()))
    models = await lying(source)
    source.ready["fake_text"] = False
    await models.refresh()
    assert models.readiness() == {"fake": False, "liar": False}
    for name in ("fake_image", "fake_text"):
        del source.ready[name]
    await models.refresh()
    assert models.get("liar").name == "liar", "the other one was removed"


async def test_a_twin_of_the_served_model_is_served_too():
    rounded = np.frombuffer(base64.b64decode(canary_parameters()["canary_text_embedding"]), "<f4")
    packed = base64.b64encode((rounded * np.float32(1.001)).astype("<f4").tobytes()).decode()
    twin = towers(
        model="twin", precision="bf16", **SHARED, **(canary_parameters() | {"canary_text_embedding": packed})
    )
    models = await fake_models(FakeTriton(*towers(**canary_parameters()), *twin), default="fake")
    assert models.readiness() == {"fake": True, "twin": True}
