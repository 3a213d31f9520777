"""Weights by tag, by file and by folder; and what is said where they cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from clipserve_exporter import open_clip_models
from clipserve_exporter.errors import ExportError
from clipserve_exporter.source import load
from safetensors.torch import save_file

Config = Callable[..., str]


@pytest.fixture
def architecture(tmp_path: Path, narrow_model: Config) -> Iterator[str]:
    """A narrow built-in architecture: open_clip's registry learns it for this test."""
    narrow_model(tmp_path / "built-in", quick_gelu=True)
    import json

    config = json.loads((tmp_path / "built-in" / "open_clip_config.json").read_text())["model_cfg"]
    open_clip.factory._MODEL_CONFIGS["narrow-quickgelu"] = config
    open_clip.factory._MODEL_CONFIGS["narrow"] = config | {"quick_gelu": False}
    yield "narrow-quickgelu"
    for name in ("narrow", "narrow-quickgelu"):
        open_clip.factory._MODEL_CONFIGS.pop(name)


def test_random_weights_are_the_same_for_the_same_seed(architecture: str) -> None:
    one, same, other = load(architecture, seed=1), load(architecture, seed=1), load(architecture, seed=2)
    assert one.weights_sha256() == same.weights_sha256() != other.weights_sha256()
    assert one.pretrained == ""


def test_the_same_weights_load_from_every_kind_of_file(architecture: str, tmp_path: Path) -> None:
    source = load(architecture, seed=3)
    state = source.model.state_dict()
    torch.save(state, tmp_path / "weights.pt")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "training.pt")
    save_file(state, tmp_path / "weights.safetensors")
    torch.jit.save(torch.jit.script(Archive(source.model)), tmp_path / "archive.pt")
    for name in ("weights.pt", "training.pt", "weights.safetensors", "archive.pt"):
        loaded = load(architecture, str(tmp_path / name))
        assert loaded.weights_sha256() == source.weights_sha256()
        assert loaded.pretrained == name


class Archive(torch.nn.Module):
    """Holds weights under their own names, and OpenAI's numbers among them."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        for name, child in model.named_children():
            self.add_module(name, Held(child))
        for name, parameter in model.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.register_buffer("input_resolution", torch.tensor(32))
        self.register_buffer("context_length", torch.tensor(77))
        self.register_buffer("vocab_size", torch.tensor(49408))

    def forward(self) -> int:
        """Nothing."""
        return 0


class Held(Archive):
    """A module's weights without its code."""

    def __init__(self, module: torch.nn.Module) -> None:
        torch.nn.Module.__init__(self)
        for name, child in module.named_children():
            self.add_module(name, Held(child))
        for name, parameter in module.named_parameters(recurse=False):
            self.register_parameter(name, parameter)


def test_openais_archives_need_their_kind_of_gelu(architecture: str, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Archive(load(architecture).model)), tmp_path / "archive.pt")
    with pytest.raises(ExportError, match="another activation; use --model narrow-quickgelu"):
        load("narrow", str(tmp_path / "archive.pt"))


def test_an_archive_of_another_model_is_told(architecture: str, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "archive.pt")
    with pytest.raises(ExportError, match=r"archive of another model: it has no CLIP weights"):
        load(architecture, str(tmp_path / "archive.pt"))


def test_a_damaged_archive_is_told(architecture: str, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "archive.pt")
    whole = (tmp_path / "archive.pt").read_bytes()
    for damaged in (whole.replace(b"PK\1\2", b"PK\0\0"), whole.replace(b"torch.nn", b"\xfforch.nn")):
        (tmp_path / "archive.pt").write_bytes(damaged)
        with pytest.raises(ExportError, match="damaged"):
            load(architecture, str(tmp_path / "archive.pt"))


@pytest.mark.parametrize(
    ("name", "has", "other"),
    [("narrow", "narrow has GELU.", "narrow-quickgelu"), ("narrow-quickgelu", "has QuickGELU.", "narrow.")],
)
def test_a_file_that_does_not_tell_its_kind_of_gelu_is_warned_of(
    architecture: str, tmp_path: Path, name: str, has: str, other: str
) -> None:
    save_file(load(architecture).model.state_dict(), tmp_path / "weights.safetensors")
    warning = load(name, str(tmp_path / "weights.safetensors")).warning
    assert warning.startswith("weights.safetensors does not tell which activation")
    assert has in warning
    assert f"use --model {other}" in warning


def test_weights_that_tell_their_kind_of_gelu_are_not_warned_of(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(architecture).model
    torch.jit.save(torch.jit.script(Archive(model)), tmp_path / "archive.pt")
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    known = {"published": {"quick_gelu": True}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, architecture, known)
    for pretrained in ("", tmp_path / "archive.pt", f"published={tmp_path / 'weights.pt'}"):
        assert load(architecture, str(pretrained)).warning == ""


def test_tags_need_their_kind_of_gelu(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        open_clip.pretrained._PRETRAINED, architecture, {"published": {"mean": (0.5, 0.5, 0.5)}}
    )
    with pytest.raises(ExportError, match=r"another activation; use --model narrow$"):
        load(architecture, "published")
    with pytest.raises(ExportError, match=r"another activation; use --model ViT-B-32-quickgelu$"):
        load("ViT-B-32", "openai")


def test_a_file_may_be_said_to_hold_the_weights_of_a_tag(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"quick_gelu": True, "mean": (0.5, 0.4, 0.3), "std": (0.1, 0.2, 0.3)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, architecture, {"published": config})
    torch.save(load(architecture).model.state_dict(), tmp_path / "w=1.pt")
    source = load(architecture, f"published={tmp_path / 'w=1.pt'}")
    assert (source.pretrained, source.preprocess.mean) == ("published", (0.5, 0.4, 0.3))


def test_a_folder_brings_its_weights_and_its_preprocessing(tmp_path: Path, narrow_model: Config) -> None:
    name = narrow_model(tmp_path / "house", preprocess_cfg={"mean": [0.5] * 3, "std": [0.5] * 3})
    random = load(name, seed=4)
    assert (random.architecture, random.pretrained) == ("house", "")
    save_file(random.model.state_dict(), tmp_path / "house" / "open_clip_model.safetensors")
    source = load(name)
    assert source.pretrained == "open_clip_model.safetensors"
    assert source.preprocess.std == (0.5, 0.5, 0.5)
    assert source.weights_sha256() == random.weights_sha256()


def test_weights_that_cannot_be_downloaded_are_asked_for_as_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", unreachable)
    monkeypatch.setattr(open_clip.factory, "download_pretrained_from_hf", unreachable)
    with pytest.raises(ExportError, match=r"laion2b_s34b_b79k \(laion/.*\) could not be .*--pretrained FILE"):
        load("ViT-B-32", "laion2b_s34b_b79k")
    with pytest.raises(ExportError, match=r"hf-hub:a/b could not be downloaded; .*local-dir:FOLDER"):
        load("hf-hub:a/b")


def test_weights_of_another_architecture_are_refused(architecture: str, tmp_path: Path) -> None:
    state = load(architecture).model.state_dict()
    state["text_projection"] = torch.zeros(64, 33)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(
        ExportError, match=r"other.pt do not fit narrow-quickgelu: size mismatch for text_proj"
    ):
        load(architecture, str(tmp_path / "other.pt"))


def test_a_file_that_holds_no_weights_is_refused(architecture: str, tmp_path: Path) -> None:
    (tmp_path / "notes.pt").write_text("no weights")
    with pytest.raises(ExportError, match=r"notes\.pt is not a file of weights"):
        load(architecture, str(tmp_path / "notes.pt"))


@pytest.mark.parametrize(
    ("name", "pretrained", "sentence"),
    [
        ("ViT-B32", "", "no architecture 'ViT-B32'; did you mean ViT-B-32 or"),
        ("ViT-B-32", "nowhere.pt", "'nowhere.pt' is neither a file nor a tag of ViT-B-32's weights"),
        ("ViT-B-16-SigLIP", "", "uses another tokenizer"),
        ("coca_roberta-ViT-B-32", "", r"uses another tokenizer \(roberta-base\)"),
        ("xlm-roberta-base-ViT-B-32", "", "uses another tokenizer"),
        ("local-dir:/nowhere", "", "local-dir:/nowhere cannot be read"),
        ("demo", "file.pt", "brings its own weights"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_a_sentence(name: str, pretrained: str, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        load(name, pretrained)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"text_cfg": {"vocab_size": 32000}}, r"another tokenizer \(one of 32,000 tokens\)"),
        ({"text_cfg": {"tokenizer_kwargs": {"clean": "whitespace"}}}, "OpenAI's with options"),
        ({"preprocess_cfg": {"interpolation": "random"}}, "interpolation 'random'"),
    ],
)
def test_architectures_that_the_gateway_could_not_serve_are_refused(
    tmp_path: Path, narrow_model: Config, changes: dict, sentence: str
) -> None:
    with pytest.raises(ExportError, match=sentence):
        load(narrow_model(tmp_path / "odd", **changes))


def test_the_list_names_weights_with_their_kind_of_gelu_alone() -> None:
    served = open_clip_models.served()
    assert "laion2b_s34b_b79k" in served["ViT-B-32"]
    assert "openai" not in served["ViT-B-32"]
    assert "openai" in served["ViT-B-32-quickgelu"]
    assert not any("siglip" in name.lower() or "roberta" in name for name in served)
