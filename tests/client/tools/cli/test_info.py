"""`clipserve info`."""

from __future__ import annotations

import dataclasses
import json

import pytest
from clipserve import Client
from clipserve.tools.cli.info import dims_of, pixels_of, which_default
from clipserve.types import Limits, ModelInfo, ModelRef, ServerInfo


def test_info_shows_models_and_limits(run, answer, server):
    text = run("info").output
    assert "fake (default)" in text
    assert "ready" in text
    assert "4,194,304" in text
    document = answer("info")
    assert document["models"][0]["ref"]["embed_dim"] == 16
    assert document["limits"]["max_items_per_call"] == 16


def test_info_shows_the_licenses_of_weights(run, answer):
    first, second = (model["license"] for model in answer("info")["models"])
    assert (first, second) == ("mit", "")
    lines = run("info").stdout.splitlines()
    assert any("fake (default)" in line and " mit " in line for line in lines)
    assert any(" unknown " in line for line in lines)


@pytest.mark.parametrize(("dims", "words"), [((), "512"), ((64, 256), "512, 64, 256")])
def test_info_tells_the_dimensions_that_a_model_was_trained_for(dims, words):
    ref = ModelRef("other", "0" * 64, 512)
    model = ModelInfo(ref, True, "Fake-4", "", 4, 8, 1.0, None, "fp32", matryoshka_dims=dims)
    assert dims_of(model) == words


def test_info_tells_which_model_answers_where_none_is_named(run):
    words = run("info").stdout
    assert "fake (default)" in words
    assert (
        "calls that name no model use fake; set the default with the server's CLIPSERVE_DEFAULT_MODEL"
        in words
    )


def test_info_tells_precision_and_device(run):
    assert "fp32 on cpu" in run("info").stdout


def test_info_tells_how_texts_become_tokens(run, answer):
    assert "openai_bpe" in run("info").stdout
    [model, _] = answer("info")["models"]
    assert [model[key] for key in ("tokenizer", "tokenizer_sha256", "text_clean", "vocab_size")] == [
        "openai_bpe", "", "lower", 49408,
    ]  # fmt: skip


def test_info_tells_the_rules_for_images(run, answer):
    assert "images: EXIF orientation applied, transparency shown on #ffffff" in run("info").stdout
    assert answer("info")["image_rules"] == {"apply_orientation": True, "alpha_background": "#ffffff"}


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((224, 224, 224, "shortest"), "224"),
        ((0, 384, 512, "shortest"), "512 × 384"),
        ((256, 256, 256, "squash"), "256 (squash)"),
        ((0, 20, 10, "longest"), "10 × 20 (longest)"),
    ],
)
def test_the_shape_of_a_models_input_is_told(shape, words):
    size, height, width, resize = shape
    model = ModelInfo(ModelRef("other", "0" * 64, 4), True, "Fake-4", "", size, 8, 1.0, None, "fp32")
    model = dataclasses.replace(model, image_height=height, image_width=width, resize=resize)
    assert pixels_of(model) == words


def test_info_tells_that_the_default_model_is_not_there():
    model = ModelInfo(ModelRef("other", "0" * 64, 4), True, "Fake-4", "", 4, 8, 1.0, None, "fp32")
    info = ServerInfo("1", (model,), "fake", Limits(*range(1, 12)))
    words = which_default(info)
    assert "the default model fake is missing" in words
    assert "CLIPSERVE_DEFAULT_MODEL" in words


@pytest.mark.parametrize("models", [(), (False,)])
def test_info_of_a_server_without_a_ready_model_says_to_try_again(run, monkeypatch, models):
    ref = ModelRef("other", "0" * 64, 4)
    listed = tuple(ModelInfo(ref, ready, "Fake-4", "", 4, 8, 1.0, None, "fp32") for ready in models)
    info = ServerInfo("1", listed, "", Limits(*range(1, 12)))
    monkeypatch.setattr(Client, "info", lambda self: info)
    assert "no model is ready" in run("info", code=4).stderr
    result = run("info", "--json", code=4)
    assert len(json.loads(result.stdout)["models"]) == len(models)
    assert json.loads(result.stderr)["error"]["code"] == "UNAVAILABLE"
