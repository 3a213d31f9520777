"""A folder of transformers brings its tokenizer; texts have the embeddings that transformers gives them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from clipserve_exporter.errors import ExportError
from clipserve_exporter.fingerprint import fingerprint
from clipserve_exporter.source import Source, load
from clipserve_exporter.sources.folder_tokenizer import is_openai, tokenizer_settings
from clipserve_exporter.tokenizer_facts import OPENAI
from safetensors.torch import save_file
from transformers import AutoTokenizer

from testing.tokenizers import build

Make = Callable[..., tuple[Path, Any]]
TEXTS = ["a photo of a cat sitting on a red sofa", "two small yellow birds", "一张黑猫坐在红色沙发上的照片"]


@pytest.fixture
def with_tokenizer(made: Make) -> Callable[..., tuple[Source, Path, Any]]:
    """Loads a folder of a kind with a tokenizer that testing.tokenizers trains."""

    def make(kind: str, tokenizer: str) -> tuple[Source, Path, Any]:
        folder, _ = made(kind)
        size = build(tokenizer, folder).text_cfg["vocab_size"]
        folder, model = made(kind, text={"vocab_size": size, "eos_token_id": 1})
        return load(str(folder)), folder, model

    return make


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "tokenizer", "clean"),
    [
        ("siglip", "siglip", "lower"),
        ("siglip2", "siglip2", "lower"),
        ("chinese_clip", "chinese_clip", "whitespace"),
    ],
)
def test_texts_have_the_embeddings_of_transformers(
    with_tokenizer: Callable[..., tuple[Source, Path, Any]], kind: str, tokenizer: str, clean: str
) -> None:
    source, folder, model = with_tokenizer(kind, tokenizer)
    assert (source.tokenizer.kind, source.tokenizer.clean) == ("huggingface", clean)
    assert source.context_length == 16
    theirs = AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding="max_length", truncation=True, max_length=16, return_tensors="pt"
    )
    assert torch.equal(source.tokenize(TEXTS), theirs.input_ids)
    mask = {"attention_mask": theirs.attention_mask} if kind == "chinese_clip" else {}
    expected = model.get_text_features(input_ids=theirs.input_ids, **mask).pooler_output
    torch.testing.assert_close(source.encode_text(source.tokenize(TEXTS)), expected, rtol=1e-4, atol=1e-5)


def test_the_fingerprint_does_not_depend_on_the_place_of_the_folder(
    with_tokenizer: Callable[..., tuple[Source, Path, Any]], tmp_path: Path
) -> None:
    source, folder, _ = with_tokenizer("siglip", "siglip")
    folder.rename(tmp_path / "elsewhere")
    moved = load(f"local-dir:{tmp_path / 'elsewhere'}")
    weights = source.weights_sha256()
    assert fingerprint(source, weights) == fingerprint(moved, moved.weights_sha256())


def test_a_clip_of_transformers_has_the_fingerprint_of_open_clips(
    made: Make, tmp_path: Path, narrow_model: Callable[..., str]
) -> None:
    folder, _ = made("clip", text={"vocab_size": 49408, "eos_token_id": 49407, "max_position_embeddings": 77})
    source = load(str(folder))
    assert source.tokenizer == OPENAI
    sizes = {"width": 64, "layers": 2, "mlp_ratio": 100 / 64}
    name = narrow_model(
        tmp_path / "narrow",
        embed_dim=48,
        quick_gelu=True,
        vision_cfg=sizes | {"mlp_ratio": source.config["vision_cfg"]["mlp_ratio"]},
        text_cfg=sizes | {"mlp_ratio": source.config["text_cfg"]["mlp_ratio"]},
    )
    save_file(source.model.state_dict(), tmp_path / "narrow" / "open_clip_model.safetensors")
    same = load(name)
    assert fingerprint(source, source.weights_sha256()) == fingerprint(same, same.weights_sha256())
    pixels = torch.rand(1, 3, 32, 32)
    assert torch.equal(source.encode_image(pixels), same.encode_image(pixels))


def test_a_folder_says_that_it_was_mapped_and_takes_no_other_weights(made: Make) -> None:
    folder, _ = made("clip", text={"vocab_size": 49408, "eos_token_id": 49407})
    source = load(str(folder))
    assert "CLIPModel of transformers, mapped to open_clip's modules" in source.notes
    assert (source.architecture, source.pretrained) == ("clip", "model.safetensors")
    with pytest.raises(ExportError, match="holds its own weights; omit --pretrained"):
        load(str(folder), "w.pt")
    with pytest.raises(ExportError, match=r"config\.json requires QuickGELU, and --activation gelu"):
        load(str(folder), activation="gelu")


@pytest.mark.parametrize(("end", "good"), [(2, True), (49407, True), (320, False)])
def test_an_end_token_that_ends_no_text_is_refused(made: Make, end: int, good: bool) -> None:
    folder, _ = made("clip", text={"vocab_size": 49408, "eos_token_id": end})
    if good:
        assert load(str(folder)).tokenizer == OPENAI
    else:
        with pytest.raises(
            ExportError, match=r"ends texts with token 49407, and by eos_token_id .* token 320"
        ):
            load(str(folder))


def test_the_end_token_of_a_folders_own_tokenizer_is_compared(made: Make, tmp_path: Path) -> None:
    built = build("chinese_clip", tmp_path / "tokenizer")
    size = built.text_cfg["vocab_size"]
    ending = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")("a").input_ids[-1]
    for end, good in ((ending, True), (ending + 1, False)):
        folder, _ = made("clip", text={"vocab_size": size, "eos_token_id": end})
        shutil.copytree(tmp_path / "tokenizer", folder, dirs_exist_ok=True)
        if good:
            assert load(str(folder)).tokenizer.kind == "huggingface"
        else:
            with pytest.raises(ExportError, match=f"ends texts with token {ending}, .* token {end}"):
                load(str(folder))


def test_a_folder_without_its_tokenizer_asks_for_it(made: Make) -> None:
    folder, _ = made("siglip")
    with pytest.raises(ExportError, match="pass --tokenizer FOLDER"):
        load(str(folder))


@pytest.mark.parametrize("file", ["vocab.json", "tokenizer.json"])
def test_openais_vocabulary_is_recognized_in_any_form(tmp_path: Path, file: str) -> None:
    encoder = dict(open_clip.SimpleTokenizer().encoder)
    spelled = {token: index for token, index in encoder.items() if index < 49406}
    spelled |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}

    def write(vocabulary: dict[str, int]) -> None:
        content = vocabulary if file == "vocab.json" else {"model": {"type": "BPE", "vocab": vocabulary}}
        (tmp_path / file).write_text(json.dumps(content))

    write(spelled)
    assert is_openai(tmp_path, 49408)
    assert tokenizer_settings(tmp_path, "clip", 49408) == {}
    write(spelled | {"cat</w>": spelled["dog</w>"], "dog</w>": spelled["cat</w>"]})
    assert not is_openai(tmp_path, 49408)
    assert not is_openai(tmp_path, 49410)


def test_a_tokenizer_that_canonicalizes_is_cleaned_that_way(tmp_path: Path) -> None:
    for name, clean in (("SiglipTokenizer", "canonicalize"), ("GemmaTokenizerFast", "lower")):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
        assert tokenizer_settings(tmp_path, "siglip", 99)["tokenizer_kwargs"] == {"clean": clean}
