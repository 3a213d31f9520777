"""config.pbtxt: what Triton parses and the gateway reads."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from clipserve_exporter.config import MODEL_NAME, Canary, ModelFacts, Serving, render, render_tokenizer
from clipserve_exporter.preprocessing import Preprocess
from clipserve_exporter.tokenizer_facts import OPENAI, TokenizerFacts
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

FACTS = ModelFacts(
    name="tiny",
    embed_dim=8,
    preprocess=Preprocess(32, 32, (0.5, 0.5, 0.5), (0.25, 0.5, 1.0)),
    tokenizer=OPENAI,
    context_length=77,
    text_length="ragged",
    logit_scale=14.285714285714286,
    logit_bias=None,
    fingerprint="ab" * 32,
    precision="fp32",
    format="libtorch",
    architecture="ViT-tiny",
    pretrained='a "quoted" \\ täg',
    weights_sha256="cd" * 32,
    torch_version="2.13.0",
    canary=Canary("cG5n", "AAAA", "a canary", "BBBB"),
)


def parsed(tower: str, serving: Serving | None = None, **changes: Any) -> pb.ModelConfig:
    text = render(dataclasses.replace(FACTS, **changes), serving or Serving(), tower)
    return text_format.Parse(text, pb.ModelConfig())


def parameters(config: pb.ModelConfig) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


def test_libtorch_and_python_forms_differ_in_nothing_but_the_backend() -> None:
    for tower in ("image", "text"):
        libtorch, python = parsed(tower), parsed(tower, format="python")
        assert (libtorch.platform, libtorch.backend) == ("pytorch_libtorch", "")
        assert (python.platform, python.backend) == ("", "python")
        for config in (libtorch, python):
            config.platform = config.backend = ""
            config.parameters["format"].string_value = ""
            config.parameters.pop("threads", None)
        assert libtorch == python


def test_image_tower_takes_pixels_and_gives_embeddings() -> None:
    config = parsed("image", Serving(image_batch=12))
    assert (config.name, config.max_batch_size) == ("tiny_image", 12)
    (pixels,) = config.input
    assert (pixels.name, pixels.data_type, list(pixels.dims)) == ("INPUT__0", pb.TYPE_UINT8, [32, 32, 3])
    (embedding,) = config.output
    assert (embedding.name, embedding.data_type, list(embedding.dims)) == ("OUTPUT__0", pb.TYPE_FP32, [8])


def test_ragged_text_tower_is_told_the_length_of_each_text() -> None:
    config = parsed("text")
    (tokens,) = config.input
    assert (tokens.data_type, list(tokens.dims), tokens.allow_ragged_batch) == (pb.TYPE_INT32, [-1], True)
    (lengths,) = config.batch_input
    assert lengths.kind == pb.BatchInput.BATCH_ITEM_SHAPE
    assert (list(lengths.target_name), list(lengths.source_input)) == (["INPUT__1"], ["INPUT__0"])
    assert lengths.data_type == pb.TYPE_FP32


def test_fixed_text_tower_takes_its_full_length_alone() -> None:
    config = parsed("text", text_length="fixed", context_length=76)
    (tokens,) = config.input
    assert (list(tokens.dims), tokens.allow_ragged_batch) == ([76], False)
    assert not config.batch_input
    assert parameters(config)["text_length"] == "fixed"


def test_batches_are_formed_without_a_queue_policy_which_would_stall_lone_requests() -> None:
    policy = parsed("text", Serving(queue_delay_us=700)).dynamic_batching
    assert policy.max_queue_delay_microseconds == 700
    assert not policy.HasField("default_queue_policy")
    assert not policy.preferred_batch_size


def test_for_gpus_every_batch_size_is_warmed_up() -> None:
    config = parsed("image", Serving(image_batch=20), precision="fp16")
    assert [warmup.batch_size for warmup in config.model_warmup] == list(range(1, 21))


@pytest.mark.parametrize("batch", [1, 3, 16, 64])
@pytest.mark.parametrize("tower", ["image", "text"])
def test_warmup_ends_with_the_largest_batch_and_none_is_larger(tower: str, batch: int) -> None:
    config = parsed(tower, Serving(image_batch=batch, text_batch=batch))
    sizes = [warmup.batch_size for warmup in config.model_warmup if "77" not in warmup.name]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == batch
    assert all(warmup.count > 1 for warmup in config.model_warmup)
    assert len({warmup.name for warmup in config.model_warmup}) == len(config.model_warmup)


def test_parameters_hold_everything_that_the_gateway_needs_in_both_towers() -> None:
    of_image, of_text = parameters(parsed("image")), parameters(parsed("text"))
    assert (of_image.pop("tower"), of_text.pop("tower")) == ("image", "text")
    assert of_image == of_text
    assert of_image == {
        "schema": "2",
        "model": "tiny",
        "embed_dim": "8",
        "image_height": "32",
        "image_width": "32",
        "resize": "shortest",
        "interpolation": "bicubic",
        "crop": "center",
        "fill": "0",
        "mean": "0.5 0.5 0.5",
        "std": "0.25 0.5 1.0",
        "context_length": "77",
        "tokenizer": "openai_bpe",
        "special_tokens": "open_clip",
        "text_length": "ragged",
        "logit_scale": "14.285714285714286",
        "fingerprint": "ab" * 32,
        "precision": "fp32",
        "format": "libtorch",
        "architecture": "ViT-tiny",
        "pretrained": 'a "quoted" \\ täg',
        "weights_sha256": "cd" * 32,
        "torch_version": "2.13.0",
        "canary_image_png": "cG5n",
        "canary_image_embedding": "AAAA",
        "canary_text": "a canary",
        "canary_text_embedding": "BBBB",
    }


def test_a_tokenizer_is_a_model_without_batches_that_runs_on_a_cpu() -> None:
    tokenizer = TokenizerFacts(kind="huggingface", sha256="ef" * 32)
    for format_ in ("libtorch", "python"):
        facts = dataclasses.replace(FACTS, tokenizer=tokenizer, format=format_)
        config = text_format.Parse(render_tokenizer(facts), pb.ModelConfig())
        assert (config.name, config.max_batch_size) == ("tiny_tokenizer", 0)
        assert (config.platform, config.backend) == (
            ("pytorch_libtorch", "") if format_ == "libtorch" else ("", "python")
        )
        assert not config.HasField("dynamic_batching")
        assert [(group.kind, group.count) for group in config.instance_group] == [
            (pb.ModelInstanceGroup.KIND_CPU, 1)
        ]
        [content] = config.output
        assert (content.data_type, list(content.dims)) == (pb.TYPE_UINT8, [-1])
        assert parameters(config) == {
            "schema": "2",
            "model": "tiny",
            "tower": "tokenizer",
            "tokenizer_sha256": "ef" * 32,
        }


def test_parameters_of_a_hugging_face_tokenizer_say_how_it_is_used() -> None:
    tokenizer = TokenizerFacts("huggingface", "ef" * 32, "canonicalize", 1, 3, vocab_size=600)
    written = parameters(parsed("text", tokenizer=tokenizer))
    assert "special_tokens" not in written
    expected = {"tokenizer": "huggingface", "tokenizer_sha256": "ef" * 32, "text_clean": "canonicalize"}
    expected |= {"pad_id": "1", "strip_id": "3", "vocab_size": "600"}
    assert {key: written[key] for key in expected} == expected
    assert "strip_id" not in parameters(
        parsed("text", tokenizer=dataclasses.replace(tokenizer, strip_id=None))
    )


def test_logit_bias_is_there_only_if_the_model_has_one() -> None:
    assert parameters(parsed("image", logit_bias=-10.0))["logit_bias"] == "-10.0"
    assert "logit_bias" not in parameters(parsed("image"))


def test_instances_and_threads_are_options() -> None:
    config = parsed("image", Serving(instances=3, threads=2), format="python")
    (group,) = config.instance_group
    assert (group.count, group.kind) == (3, pb.ModelInstanceGroup.KIND_AUTO)
    assert parameters(config)["threads"] == "2"


@pytest.mark.parametrize("name", ["demo", "ViT-B-32", "a", "0.x_y-z", "a" * 64])
def test_model_names_that_are_allowed(name: str) -> None:
    assert MODEL_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a b", "é", "a" * 65, ".a", 'a"b'])
def test_model_names_that_are_refused(name: str) -> None:
    assert not MODEL_NAME.fullmatch(name)


@pytest.mark.parametrize(("kind", "number"), [("KIND_CPU", 2), ("KIND_GPU", 1), ("KIND_AUTO", 0)])
def test_triton_runs_the_model_on_the_device_that_was_named(kind: str, number: int) -> None:
    [group] = parsed("image", Serving(kind=kind)).instance_group
    assert group.kind == number


def test_the_device_is_a_parameter_only_if_it_is_known() -> None:
    assert parameters(parsed("text", device="cuda"))["device"] == "cuda"
    assert "device" not in parameters(parsed("text"))


def test_dimensions_that_the_model_was_trained_for_are_declared_by_both_towers() -> None:
    for tower in ("image", "text"):
        assert parameters(parsed(tower, matryoshka_dims=(2, 4)))["matryoshka_dims"] == "2 4"
        assert "matryoshka_dims" not in parameters(parsed(tower))


def test_the_gateway_reads_the_declared_dimensions() -> None:
    from clipserve_gateway.triton.model_config import matryoshka_dims_of
    from clipserve_gateway.triton.parameters import TowerConfig

    tower = TowerConfig("tiny_image", 1, parameters(parsed("image", matryoshka_dims=(2, 4))))
    assert matryoshka_dims_of(tower, 8) == (2, 4)
