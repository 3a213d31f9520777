from __future__ import annotations

import pytest
from clipserve_gateway.model_config import BadModelConfig, TowerConfig, parse_model
from support.fakes import towers


def test_two_towers_make_a_model():
    spec = parse_model(*towers(logit_bias="-10.5", text_length="fixed"))
    assert (spec.name, spec.embed_dim, spec.image_size, spec.context_length) == ("fake", 8, 16, 77)
    assert (spec.logit_scale, spec.logit_bias, spec.fixed_text_length) == (20.0, -10.5, True)
    assert (spec.max_image_batch, spec.max_text_batch) == (4, 8)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "2"),
        ("tokenizer", "sentencepiece"),
        ("resize", "squash"),
        ("interpolation", "nearest"),
        ("crop", "none"),
        ("fingerprint", "short"),
        ("embed_dim", "many"),
        ("embed_dim", "0"),
        ("embed_dim", "1.5"),
        ("logit_scale", "nan"),
        ("logit_bias", "much"),
        ("text_length", "sometimes"),
    ],
)
def test_a_parameter_that_the_gateway_cannot_serve_is_named(key, value):
    with pytest.raises(BadModelConfig, match=key):
        parse_model(*towers(**{key: value}))


@pytest.mark.parametrize(
    "key", ["schema", "fingerprint", "embed_dim", "logit_scale", "text_length", "precision"]
)
def test_a_missing_parameter_is_named(key):
    image, text = towers()
    for tower in (image, text):
        del tower.parameters[key]
    with pytest.raises(BadModelConfig, match=key):
        parse_model(image, text)


def test_towers_of_different_models_do_not_pair():
    image, text = towers()
    changed = TowerConfig(text.triton_name, 8, dict(text.parameters) | {"fingerprint": "0" * 64})
    with pytest.raises(BadModelConfig, match="fingerprint"):
        parse_model(image, changed)
