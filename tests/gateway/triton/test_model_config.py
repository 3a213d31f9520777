from __future__ import annotations

import dataclasses

import pytest
from clipserve_gateway.triton.model_config import model_name, pair_towers, parse_model
from clipserve_gateway.triton.parameters import BadModelConfig, TowerConfig
from clipserve_gateway.types import ModelSpec, Preprocess, TokenizerSpec

from testing.fakes import DIM, canary_parameters, towers


def test_two_towers_make_a_model():
    spec = parse_model(*towers(logit_bias="-10.5", text_length="fixed"))
    assert (spec.name, spec.embed_dim, spec.preprocess, spec.tokenizer) == (
        "fake",
        8,
        Preprocess(16, 16),
        TokenizerSpec(77),
    )
    assert (spec.logit_scale, spec.logit_bias, spec.fixed_text_length) == (20.0, -10.5, True)
    assert (spec.max_image_batch, spec.max_text_batch) == (4, 8)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "3"),
        ("tokenizer", "sentencepiece"),
        ("resize", "none"),
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


RECORD = {
    "canary_image_png": "UE5H",
    "canary_image_embedding": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "canary_text": "a canary",
    "canary_text_embedding": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
}


def test_the_canary_of_the_export_is_read():
    known = parse_model(*towers(**RECORD)).canary
    assert known is not None
    assert (known.image, known.text) == (b"PNG", "a canary")
    assert len(known.image_embedding) == len(known.text_embedding) == 4 * DIM
    assert parse_model(*towers()).canary is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("canary_image_png", "no base64!"), ("canary_text_embedding", "AAAA"), ("canary_image_embedding", "")],
)
def test_a_broken_canary_is_named(key, value):
    with pytest.raises(BadModelConfig, match=key):
        parse_model(*towers(**RECORD | {key: value}))


def test_pairs_tell_what_each_listed_model_is_or_why_it_is_none():
    found = {it.triton_name: it for it in (*towers(), *towers(model="bad", embed_dim="many"))}
    index = dict.fromkeys(["fake_image", "fake_text", "bad_image", "bad_text", "half_image", "other"], "1")
    pairs = pair_towers(index, found)
    assert pairs["fake"] == parse_model(*towers())
    assert isinstance(pairs["bad"], BadModelConfig)
    assert pairs["half"] is None
    assert pairs.keys() == {"fake", "bad", "half"}


def test_towers_are_a_model_only_in_one_version_that_both_have_loaded():
    def paired(image: str, text: str, loaded: str) -> object:
        of_image, of_text = towers(model_version=image)[0], towers(model_version=text)[1]
        found = {it.triton_name: it for it in (of_image, of_text)}
        return pair_towers(dict.fromkeys(found, frozenset({loaded, "3"})), found)["fake"]

    spec = paired("7", "7", loaded="7")
    assert isinstance(spec, ModelSpec)
    assert spec.version == "7"
    assert paired("7", "8", loaded="7") is None
    assert paired("8", "8", loaded="7") is None


def test_a_configuration_that_names_no_version_describes_version_1():
    assert parse_model(*towers()).version == "1"
    found = {it.triton_name: it for it in towers()}
    assert isinstance(pair_towers(dict.fromkeys(found, ("1",)), found)["fake"], ModelSpec)
    assert pair_towers(dict.fromkeys(found, ("2",)), found)["fake"] is None


@pytest.mark.parametrize("version", ["", "0", "-1", "x", "1.0", str(2**63), "²"])
def test_a_version_is_a_positive_int64(version):
    with pytest.raises(BadModelConfig, match="model_version"):
        parse_model(*towers(model_version=version))


def test_a_name_loses_one_suffix_only():
    assert model_name("demo_image") == model_name("demo_text") == "demo"
    assert model_name("shop_text_image") == "shop_text"
    assert model_name("other") == "other"


def test_preprocessing_and_a_tokenizer_of_hugging_face_are_read_from_the_parameters():
    image, text = towers(
        schema="2",
        image_height="384",
        image_width="512",
        resize="longest",
        interpolation="bilinear",
        fill="127",
        tokenizer="huggingface",
        tokenizer_sha256="a" * 64,
        text_clean="canonicalize",
        pad_id="1",
        strip_id="2",
        vocab_size="32000",
        text_length="masked",
    )
    spec = parse_model(image, text)
    assert spec.preprocess == Preprocess(384, 512, "longest", "bilinear", 127)
    assert spec.tokenizer == TokenizerSpec(77, "huggingface", "a" * 64, "canonicalize", 1, 2, "openai", 32000)
    assert not spec.fixed_text_length


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tokenizer_sha256", "short"),
        ("text_clean", "upper"),
        ("pad_id", "32000"),
        ("pad_id", "-1"),
        ("strip_id", "x"),
        ("vocab_size", "0"),
        ("context_length", "100000"),
        ("image_height", "0"),
        ("fill", "256"),
    ],
)
def test_a_parameter_of_the_inputs_that_is_out_of_range_is_named(key, value):
    good = {
        "tokenizer": "huggingface",
        "tokenizer_sha256": "a" * 64,
        "text_clean": "none",
        "pad_id": "1",
        "vocab_size": "32000",
    }
    with pytest.raises(BadModelConfig, match=key):
        parse_model(*towers(**good | {key: value}))


@pytest.mark.parametrize("ids", ["", "1 x", "32000", "-1", "1 " * 78])
def test_recorded_ids_of_the_canary_fit_the_model(ids):
    own = {
        "tokenizer": "huggingface",
        "tokenizer_sha256": "a" * 64,
        "text_clean": "none",
        "pad_id": "1",
        "vocab_size": "32000",
        **canary_parameters(),
    }
    assert parse_model(*towers(**own, canary_text_ids="31999 0")).canary.text_ids == (31999, 0)
    with pytest.raises(BadModelConfig, match="canary_text_ids"):
        parse_model(*towers(**own, canary_text_ids=ids))
    with pytest.raises(BadModelConfig, match="canary_text_ids is missing"):
        parse_model(*towers(**own))


@pytest.mark.parametrize(
    ("tower", "changes", "words"),
    [
        (
            "image",
            {"output_dims": (4,)},
            r"fake_image: by parameter embed_dim the tower gives \[8\], .* \[4\]",
        ),
        (
            "text",
            {"output_dims": (16,)},
            r"fake_text: by parameter embed_dim the tower gives \[8\], .* \[16\]",
        ),
        (
            "image",
            {"input_dims": (32, 16, 3)},
            r"image_height the tower takes \[16, 16, 3\], .* \[32, 16, 3\]",
        ),
        ("text", {"input_dims": (77,)}, r"text_length the tower takes \[-1\], .* \[77\]"),
    ],
)
def test_parameters_that_triton_contradicts_are_refused(tower, changes, words):
    by_role = dict(zip(("image", "text"), towers(), strict=True))
    by_role[tower] = dataclasses.replace(by_role[tower], **changes)
    with pytest.raises(BadModelConfig, match=words):
        parse_model(by_role["image"], by_role["text"])


def test_shapes_that_triton_confirms_are_accepted_and_the_device_is_that_of_the_image_tower():
    image, text = towers(text_length="fixed")
    image = dataclasses.replace(image, input_dims=(16, 16, 3), output_dims=(8,), device="cuda")
    text = dataclasses.replace(text, input_dims=(77,), output_dims=(8,))
    assert parse_model(image, text).device == "cuda"


def test_the_dimensions_that_a_model_was_trained_for_are_read():
    assert parse_model(*towers(matryoshka_dims="2 4 7")).matryoshka_dims == (2, 4, 7)
    assert parse_model(*towers()).matryoshka_dims == ()


@pytest.mark.parametrize("dims", ["4 2", "0 4", "4 4", "2 8", "2,4", "-2 4", "2.0", "9" * 5000])
def test_dimensions_that_do_not_ascend_below_all_are_named(dims):
    with pytest.raises(BadModelConfig, match="matryoshka_dims is not ascending numbers from 1 to 7"):
        parse_model(*towers(matryoshka_dims=dims))
