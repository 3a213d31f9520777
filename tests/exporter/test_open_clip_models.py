"""Weights by tag, by file and by folder; and what is said where they cannot be had."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from clipserve_exporter import open_clip_models
from clipserve_exporter.errors import ExportError
from clipserve_exporter.fingerprint import fingerprint
from clipserve_exporter.source import load
from clipserve_exporter.sources.assumed import require_one_preprocessing
from clipserve_exporter.sources.fit import misfit
from safetensors.torch import save_file

Config = Callable[..., str]


@pytest.fixture
def architecture(tmp_path: Path, narrow_model: Config) -> Iterator[str]:
    """A narrow built-in architecture: open_clip's registry learns it for this test."""
    narrow_model(tmp_path / "built-in", quick_gelu=True)
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


def test_a_model_that_is_a_file_or_no_folder_of_a_model_gets_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"")
    cases = {
        str(file): "is a file; name the architecture of its weights, such as --model ViT-B-32 --pretrained",
        str(tmp_path): "has no configuration of a model: neither open_clip_config.json, as open_clip",
        f"local-dir:{tmp_path}": "nor config.json, as transformers does",
        f"local-dir:{tmp_path}/none": "there is no folder",
    }
    for name, sentence in cases.items():
        with pytest.raises(ExportError, match=sentence):
            load(name)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            RuntimeError("shape '[]' is invalid for input of size 2"),
            "they cannot be used (RuntimeError: shape",
        ),
        (KeyError("visual.proj"), "they cannot be used (KeyError: 'visual.proj')"),
        (RuntimeError('Missing key(s) in state_dict: "a", "b". '), "2 weights (a, …) are missing"),
    ],
)
def test_why_weights_do_not_fit_is_a_sentence(error: Exception, sentence: str) -> None:
    assert misfit(error).startswith(sentence)


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


def test_an_archive_of_openai_chooses_quickgelu(architecture: str, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Archive(load(architecture).model)), tmp_path / "archive.pt")
    sources = [load(name, str(tmp_path / "archive.pt")) for name in ("narrow", "narrow-quickgelu")]
    assert [source.architecture for source in sources] == ["narrow-quickgelu"] * 2
    assert [len(source.notes) for source in sources] == [2, 1], "the first says that it chose"
    assert len({fingerprint(source, source.weights_sha256()) for source in sources}) == 1
    with pytest.raises(ExportError, match="archive of OpenAI requires QuickGELU, and --activation gelu"):
        load("narrow", str(tmp_path / "archive.pt"), activation="gelu")


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
    [
        ("narrow", "narrow has GELU.", "quickgelu"),
        ("narrow-quickgelu", "narrow-quickgelu has QuickGELU.", "gelu"),
    ],
)
def test_a_file_that_does_not_tell_its_activation_gets_a_warning(
    architecture: str, tmp_path: Path, name: str, has: str, other: str
) -> None:
    save_file(load(architecture).model.state_dict(), tmp_path / "weights.safetensors")
    (warning,) = load(name, str(tmp_path / "weights.safetensors")).warnings
    assert warning.startswith("weights.safetensors does not tell which activation")
    assert has in warning
    assert f"use --activation {other}." in warning


def test_the_user_can_say_the_activation_of_a_file(architecture: str, tmp_path: Path) -> None:
    save_file(load(architecture).model.state_dict(), tmp_path / "weights.safetensors")
    file = str(tmp_path / "weights.safetensors")
    chosen = load("narrow", file, activation="quickgelu")
    named = load("narrow-quickgelu", file, activation="quickgelu")
    other = load("narrow-quickgelu", file, activation="gelu")
    assert chosen.warnings == named.warnings == other.warnings == ()
    prints = [fingerprint(source, source.weights_sha256()) for source in (chosen, named, other)]
    assert prints[0] == prints[1] != prints[2]
    pixels = torch.ones(1, 3, 32, 32)
    assert torch.equal(chosen.encode_image(pixels), named.encode_image(pixels))
    assert not torch.equal(chosen.encode_image(pixels), other.encode_image(pixels))


def test_an_activation_that_contradicts_a_folder_is_refused(tmp_path: Path, narrow_model: Config) -> None:
    name = narrow_model(tmp_path / "house", quick_gelu=True)
    with pytest.raises(ExportError, match="requires QuickGELU, and --activation gelu contradicts it"):
        load(name, activation="gelu")
    assert load(name, activation="quickgelu").config["quick_gelu"]


def test_weights_that_tell_their_activation_get_no_warning(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(architecture).model
    torch.jit.save(torch.jit.script(Archive(model)), tmp_path / "archive.pt")
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    known = {"published": {"quick_gelu": True}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, architecture, known)
    for pretrained in ("", tmp_path / "archive.pt", f"published={tmp_path / 'weights.pt'}"):
        assert load(architecture, str(pretrained)).warnings == ()


@pytest.mark.parametrize("quick", [True, False])
def test_a_tag_chooses_the_activation(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    torch.save(load(architecture).model.state_dict(), tmp_path / "weights.pt")
    for name in ("narrow", architecture):
        known = {"published": {"quick_gelu": quick, "url": "a"}}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, known)
    monkeypatch.setattr(
        open_clip.factory, "download_pretrained", lambda *_, **__: str(tmp_path / "weights.pt")
    )
    sources = [load(name, "published") for name in ("narrow", "narrow-quickgelu")]
    assert len({fingerprint(source, source.weights_sha256()) for source in sources}) == 1
    assert {source.architecture for source in sources} == {"narrow-quickgelu" if quick else "narrow"}
    with pytest.raises(ExportError, match=r"the tag published requires .*; omit --activation"):
        load("narrow", "published", activation="gelu" if quick else "quickgelu")


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


def test_weights_that_are_missing_or_unknown_are_counted(architecture: str, tmp_path: Path) -> None:
    state = load(architecture).model.state_dict()
    file = tmp_path / "other.pt"
    torch.save({name: value for name, value in state.items() if name != "visual.proj"}, file)
    with pytest.raises(ExportError, match=r"do not fit narrow-quickgelu: visual\.proj is missing$"):
        load(architecture, str(file))
    torch.save(state | {"extra": torch.ones(1)}, file)
    with pytest.raises(ExportError, match=r"do not fit narrow-quickgelu: extra is unknown$"):
        load(architecture, str(file))
    torch.save({f"a.{name}" if "resblocks" in name else name: value for name, value in state.items()}, file)
    with pytest.raises(ExportError, match=r"another architecture: 48 weights \(.*, …\) are missing, and 48 "):
        load(architecture, str(file))


@pytest.mark.parametrize(("value", "kind"), [("nan", "NaN"), ("inf", "infinite values")])
def test_weights_that_are_not_numbers_are_refused(
    architecture: str, tmp_path: Path, value: str, kind: str
) -> None:
    state = load(architecture).model.state_dict()
    state["visual.proj"][3, 4] = float(value)
    torch.save(state, tmp_path / "diverged.pt")
    with pytest.raises(ExportError, match=rf"of diverged\.pt contain {kind}, first in visual\.proj"):
        load(architecture, str(tmp_path / "diverged.pt"))


def test_quantized_weights_are_refused(architecture: str, tmp_path: Path) -> None:
    state = load(architecture).model.state_dict()
    state["visual.proj"] = torch.ones_like(state["visual.proj"], dtype=torch.int8)
    torch.save(state, tmp_path / "int8.pt")
    with pytest.raises(ExportError, match=r"int8\.pt are quantized: visual\.proj has the type int8"):
        load(architecture, str(tmp_path / "int8.pt"))


def test_weights_of_another_size_are_interpolated_with_a_warning(
    tmp_path: Path, narrow_model: Config
) -> None:
    name = narrow_model(tmp_path / "house", vision_cfg={"image_size": 48}, text_cfg={"context_length": 16})
    other = narrow_model(tmp_path / "other")
    save_file(load(other).model.state_dict(), tmp_path / "house" / "open_clip_model.safetensors")
    images, texts = load(name).warnings
    assert "are for images of 32 × 32 pixels; open_clip interpolates their" in images
    assert "to 48 × 48, which changes" in images
    assert "are for texts of 77 tokens; open_clip interpolates their position embeddings to 16" in texts


def test_a_file_without_preprocessing_is_refused_if_published_weights_need_another(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(load(architecture).model.state_dict(), tmp_path / "weights.pt")
    usual, other = {"url": "a"}, {"url": "a", "interpolation": "bilinear", "mean": (0, 0, 0)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "narrow", {"one": usual, "two": other})
    for name in ("narrow", "narrow-quickgelu"):
        with pytest.raises(ExportError, match=r"two: short side .*, bilinear, mean 0, .*--pretrained TAG=/"):
            load(name, str(tmp_path / "weights.pt"))
    assert load("narrow", f"two={tmp_path / 'weights.pt'}").preprocess.interpolation == "bilinear"
    assert load("narrow").notes == ()


def test_the_assumed_preprocessing_is_told(architecture: str, tmp_path: Path) -> None:
    torch.save(load(architecture).model.state_dict(), tmp_path / "weights.pt")
    (note,) = load(architecture, str(tmp_path / "weights.pt")).notes
    assert note == (
        "weights.pt does not tell the preprocessing of its images; assumed is 32 × 32 pixels, short side "
        "resized and center cropped, bicubic, mean 0.4815 0.4578 0.4082, std 0.2686 0.2613 0.2758"
    )


@pytest.mark.parametrize("name", ["MobileCLIP2-S0", "PE-Core-T-16-384", "ViT-L-14", "ViT-B-16-SigLIP"])
def test_published_weights_that_need_another_preprocessing_are_known(name: str) -> None:
    with pytest.raises(ExportError, match="does not tell the preprocessing"):
        require_one_preprocessing(Path("w.pt"), name, open_clip_models.published(name))


def test_published_weights_with_the_default_preprocessing_are_known() -> None:
    for name in ("ViT-B-32", "RN50", "convnext_base_w", "EVA02-B-16", "ViTamin-S"):
        require_one_preprocessing(Path("w.pt"), name, open_clip_models.published(name))


def test_a_folder_may_hold_its_weights_in_several_files(tmp_path: Path, narrow_model: Config) -> None:
    name = narrow_model(tmp_path / "house")
    state = load(name).model.state_dict()
    files = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    where = {key: files[number % 2] for number, key in enumerate(sorted(state))}
    for file in files:
        save_file({key: state[key] for key in where if where[key] == file}, tmp_path / "house" / file)
    (tmp_path / "house" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    source = load(name)
    assert source.pretrained == "model.safetensors.index.json"
    assert all(torch.equal(value, state[key]) for key, value in source.model.state_dict().items())


def test_weights_with_names_of_transformers_need_their_folder(architecture: str, tmp_path: Path) -> None:
    names = ("text_model.embeddings.position_ids", "vision_model.x")
    save_file({name: torch.ones(1) for name in names}, tmp_path / "model.safetensors")
    with pytest.raises(ExportError, match=r"names of Hugging Face's transformers; .* --model FOLDER"):
        load(architecture, str(tmp_path / "model.safetensors"))


def test_a_file_that_holds_no_weights_is_refused(architecture: str, tmp_path: Path) -> None:
    (tmp_path / "notes.pt").write_text("no weights")
    with pytest.raises(ExportError, match=r"notes\.pt is not a file of weights"):
        load(architecture, str(tmp_path / "notes.pt"))


@pytest.mark.parametrize(
    ("name", "pretrained", "sentence"),
    [
        ("ViT-B32", "", "no architecture 'ViT-B32'; did you mean ViT-B-32 or"),
        ("ViT-B-32", "nowhere.pt", "'nowhere.pt' is neither a file nor a tag of ViT-B-32's weights"),
        (
            "ViT-B-16-SigLIP",
            "",
            "tokenizer timm/ViT-B-16-SigLIP could not be downloaded .*--tokenizer FOLDER",
        ),
        ("coca_roberta-ViT-B-32", "", "tokenizer roberta-base could not be downloaded"),
        ("local-dir:/nowhere", "", "there is no folder /nowhere"),
        ("demo", "file.pt", "brings its own weights"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_a_sentence(name: str, pretrained: str, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        load(name, pretrained)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"text_cfg": {"vocab_size": 32000}}, "its text tower has embeddings for 32,000"),
        ({"text_cfg": {"tokenizer_kwargs": {"clean": "whitespace"}}}, "OpenAI's tokenizer with .*whitespace"),
        ({"preprocess_cfg": {"interpolation": "random"}}, "interpolation 'random'"),
    ],
)
def test_architectures_that_the_gateway_could_not_serve_are_refused(
    tmp_path: Path, narrow_model: Config, changes: dict, sentence: str
) -> None:
    with pytest.raises(ExportError, match=sentence):
        load(narrow_model(tmp_path / "odd", **changes))
