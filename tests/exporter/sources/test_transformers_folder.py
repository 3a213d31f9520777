"""Folders of transformers give the embeddings of transformers, or a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from clipserve_exporter.errors import ExportError
from clipserve_exporter.source import load
from clipserve_exporter.sources.transformers_folder import is_transformers_folder, load_transformers
from torch import Tensor

from testing.tokenizers import build

Make = Callable[..., tuple[Path, Any]]
BOUND = 0.99999


def image_features(model: Any, pixels: Tensor) -> Tensor:
    """float32 [B, 3, S, S] → float32 [B, D], by transformers."""
    if "Siglip2" not in type(model).__name__:
        return features(model.get_image_features(pixel_values=pixels))
    patch = model.config.vision_config.patch_size
    count = pixels.shape[2] // patch
    # Siglip2's processor flattens patches row by row, with the color as the last axis.
    patches = pixels.unflatten(2, (count, patch)).unflatten(4, (count, patch)).permute(0, 2, 4, 3, 5, 1)
    return features(
        model.get_image_features(
            pixel_values=patches.reshape(len(pixels), count * count, -1),
            pixel_attention_mask=torch.ones(len(pixels), count * count, dtype=torch.int64),
            spatial_shapes=torch.tensor([[count, count]] * len(pixels)),
        )
    )


def features(output: Any) -> Tensor:
    """The embeddings in the output of any version of transformers."""
    return output if isinstance(output, Tensor) else output.pooler_output


def token_ids(kind: str, end: int = 98) -> Tensor:
    """Texts of several lengths, int64 [4, 16]; BERT's end with its padding."""
    torch.manual_seed(1)
    ids = torch.randint(1, 96, (4, 16))
    if kind == "clip":
        for row, length in zip(ids, (2, 5, 9, 16), strict=True):
            row[0], row[length - 1 :] = 97, end
    if kind == "chinese_clip":
        for row, length in zip(ids, (2, 5, 9, 16), strict=True):
            row[length:] = 0
    return ids


@torch.no_grad()
def assert_equal_embeddings(folder: Path, model: Any, kind: str) -> Any:
    loaded, config, _ = load_transformers(folder)
    loaded.eval()
    torch.manual_seed(2)
    pixels = 2 * torch.randn(4, 3, 32, 32) + 3 * torch.randn(4, 3, 1, 1)
    end = model.config.text_config.eos_token_id
    ids = token_ids(kind, 98 if end == 2 else end)
    mask = {"attention_mask": (ids != 0).long()} if kind == "chinese_clip" else {}
    pairs = (
        (loaded.encode_image(pixels), image_features(model, pixels)),
        (loaded.encode_text(ids), features(model.get_text_features(input_ids=ids, **mask))),
    )
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        assert torch.nn.functional.cosine_similarity(ours, theirs).min() >= BOUND
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        assert torch.nn.functional.cosine_similarity(theirs[:1], theirs[1:]).max() < 0.999
    torch.testing.assert_close(loaded.logit_scale, model.logit_scale.reshape(()))
    assert config["embed_dim"] == pairs[0][0].shape[1]
    return loaded


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2", "chinese_clip"])
def test_embeddings_are_those_of_transformers(made: Make, kind: str) -> None:
    loaded = assert_equal_embeddings(*made(kind), kind)
    assert (loaded.logit_bias is None) == (kind in ("clip", "chinese_clip"))


@pytest.mark.parametrize("act", ["gelu", "gelu_pytorch_tanh", "quick_gelu"])
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_every_activation_is_kept(made: Make, kind: str, act: str) -> None:
    folder, model = made(kind, text={"hidden_act": act}, vision={"hidden_act": act})
    if (kind, act) == ("siglip", "quick_gelu"):
        with pytest.raises(ExportError, match="hidden_act 'quick_gelu', which is not supported for SigLIP"):
            load_transformers(folder)
    else:
        assert_equal_embeddings(folder, model, kind)


def test_the_towers_of_siglip_may_differ(made: Make) -> None:
    text, vision = {"hidden_act": "gelu", "num_hidden_layers": 1}, {"num_attention_heads": 4}
    assert_equal_embeddings(*made("siglip", text=text, vision=vision), "siglip")


def test_other_norms_and_widths_are_kept(made: Make) -> None:
    text = {"layer_norm_eps": 0.1, "hidden_size": 32, "intermediate_size": 71}
    assert_equal_embeddings(*made("clip", text=text, vision={"layer_norm_eps": 0.2}), "clip")


@pytest.mark.parametrize(("end", "pooling"), [(2, ("argmax", 2)), (98, ("argmax", 2)), (50, ("eos", 50))])
def test_the_end_token_is_that_of_the_configuration(made: Make, end: int, pooling: tuple[str, int]) -> None:
    folder, model = made("clip", text={"eos_token_id": end})
    loaded = assert_equal_embeddings(folder, model, "clip")
    assert (loaded.text_pool_type, loaded.text_eos_id) == pooling


def test_a_chinese_text_has_the_length_of_the_training(made: Make) -> None:
    folder, _ = made("chinese_clip", text={"max_position_embeddings": 512})
    assert load_transformers(folder)[0].text.context_length == 52


def test_the_configuration_names_no_folder(made: Make) -> None:
    folder, _ = made("chinese_clip")
    assert str(folder.parent) not in json.dumps(load_transformers(folder)[1])
    assert "/" not in json.dumps(load_transformers(folder)[1])


def test_weights_in_several_files_are_joined(made: Make) -> None:
    folder, model = made("clip", max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert load_transformers(folder)[2] == "model.safetensors.index.json"
    assert_equal_embeddings(folder, model, "clip")


def test_older_files_with_positions_are_read(made: Make) -> None:
    folder, model = made("chinese_clip")
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    state["module.text_model.embeddings.position_ids"] = torch.arange(16)[None]
    state["module.text_model.pooler.dense.weight"] = torch.ones(64, 64)
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert_equal_embeddings(folder, model, "chinese_clip")


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        ("clip", {"model_type": "blip"}, "holds CLIPModel; supported are CLIPModel, SiglipModel, "),
        ("clip", {"model_type": "blip", "architectures": None}, "holds model_type 'blip'; supported are"),
        ("clip", {"architectures": ["CLIPVisionModelWithProjection"]}, "holds CLIPVisionModelWithProjection"),
        ("clip", {"auto_map": {"AutoModel": "m.M"}}, "needs Python code of its own"),
        ("clip", {"projection_dim": 47}, "do not fit its config.json: size mismatch for "),
        ("siglip", {"vision_config": {"vision_use_head": False}}, "vision_use_head false"),
        ("siglip", {"text_config": {"projection_size": 32}}, "of 64 and text embeddings of 32 dimensions"),
        ("clip", {"vision_config": {"num_channels": 4}}, "num_channels 4; supported are 3"),
        ("clip", {"vision_config": {"image_size": 48}}, "do not fit its config.json: size mismatch"),
        ("clip", {"vision_config": {"hidden_act": "gelu"}}, "'quick_gelu' for texts and 'gelu' for images"),
        ("clip", {"vision_config": {"hidden_act": "relu"}}, "hidden_act 'relu', which is not supported"),
        ("clip", {"text_config": {"num_hidden_layers": 3}}, r"2\.self_attn\.q_proj\.weight is missing"),
        ("clip", {"text_config": {"num_hidden_layers": 1}}, "16 are unknown, first text_model"),
        ("clip", {"text_config": {"layer_norm_eps": 0.0}}, r"layer_norm_eps 0\.0; it must be"),
        ("siglip", {"vision_config": {"layer_norm_eps": float("nan")}}, "layer_norm_eps nan; it must"),
        ("clip", {"text_config": {"layer_norm_eps": "a"}}, "cannot be read: .* expected float"),
        ("chinese_clip", {"text_config": {"layer_norm_eps": 2.0}}, r"layer_norm_eps 2\.0; it must be"),
        ("clip", {"text_config": {"eos_token_id": 99}}, "eos_token_id 99; it must be a token of its 99"),
        ("clip", {"text_config": {"eos_token_id": None}}, "eos_token_id None; it must|cannot be read"),
        ("siglip2", {"vision_config": {"num_patches": 15}}, "num_patches 15, which is not a square"),
        ("chinese_clip", {"text_config": {"hidden_size": 65}}, "do not fit its config.json|cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_mapped_is_refused(made: Make, kind: str, changes: dict, sentence: str) -> None:
    folder, _ = made(kind)
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        config[key] = config[key] | value if isinstance(value, dict) and key in config else value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match=sentence) as raised:
        load_transformers(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("config.json", "{", "is damaged JSON"),
        ("config.json", "[]", "does not contain a JSON object"),
        ("model.safetensors", "", "is empty"),
        ("preprocessor_config.json", "{", "is damaged JSON"),
    ],
)
def test_damaged_files_are_told(made: Make, file: str, content: str, sentence: str) -> None:
    folder, _ = made("clip")
    (folder / file).write_text(content)
    with pytest.raises(ExportError, match=rf"{file} {sentence}"):
        load_transformers(folder)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("model.safetensors", "has no weights: no model.safetensors and no pytorch_model.bin"),
        ("preprocessor_config.json", "has no preprocessor_config.json, which tells how images are prepared"),
    ],
)
def test_missing_files_are_told(made: Make, file: str, sentence: str) -> None:
    folder, _ = made("clip")
    (folder / file).unlink()
    with pytest.raises(ExportError, match=sentence):
        load_transformers(folder)


def test_weights_that_are_not_numbers_are_refused(made: Make) -> None:
    folder, model = made("clip")
    with torch.no_grad():
        model.logit_scale.fill_(float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(ExportError, match=r"contain NaN, first in logit_scale"):
        load_transformers(folder)


def test_a_folder_of_open_clip_is_not_one_of_transformers(made: Make) -> None:
    folder, _ = made("clip")
    assert is_transformers_folder(folder)
    (folder / "open_clip_config.json").write_text("{}")
    assert not is_transformers_folder(folder)


@pytest.mark.parametrize(
    ("kind", "tokenizer", "named", "clean"),
    [
        ("siglip", "siglip", "SiglipTokenizer", "canonicalize"),
        ("siglip2", "siglip2", "GemmaTokenizer", "lower"),
        ("chinese_clip", "chinese_clip", "BertTokenizer", "whitespace"),
    ],
)
def test_the_tokenizer_comes_from_the_folder(
    made: Make, tmp_path: Path, kind: str, tokenizer: str, named: str, clean: str
) -> None:
    folder, _ = made(kind, text={"vocab_size": 1000})
    build(tokenizer, tmp_path / "tokenizer")
    for path in (tmp_path / "tokenizer").iterdir():
        shutil.copy(path, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": named}))
    source = load(str(folder))
    assert (source.tokenizer.kind, source.tokenizer.clean) == ("huggingface", clean)
    assert source.tokenizer.vocab_size == 1000
    assert source.bundle
    texts = ["a photo of a cat", "一张黑猫"]
    assert source.tokenize(texts).shape == (2, 16)


def test_a_folder_without_a_tokenizer_is_refused(made: Make) -> None:
    folder, _ = made("siglip")
    with pytest.raises(ExportError, match=r"siglip has no tokenizer: it needs tokenizer_config.json"):
        load(str(folder))
