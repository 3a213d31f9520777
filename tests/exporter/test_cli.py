"""The command line: what it teaches, shows and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from clipserve_exporter.cli import default_name, main
from clipserve_exporter.versions import parameters_of, served_version


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_help_shows_every_option_with_examples() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for word in (
        "--model",
        "--pretrained",
        "--tokenizer",
        "--precision",
        "--format",
        "--out",
        "--seed",
        "Examples:",
    ):
        assert word in result.output


def test_an_export_shows_its_steps_and_its_parity_and_says_that_weights_are_random(
    tmp_path: Path, narrow_model: Callable[..., str]
) -> None:
    result = run("--model", narrow_model(tmp_path / "narrow"), "--out", tmp_path / "models")
    assert result.exit_code == 0, result.output
    for words in (
        "· load",
        "· parity",
        "parity with open_clip",
        "very uneven",
        "weights are RANDOM",
        "✓ narrow: ",
    ):
        assert words in result.output
    image = tmp_path / "models" / "narrow_image"
    assert (image / served_version(image) / "model.pt").is_file()
    assert (
        'platform: "pytorch_libtorch"' in (tmp_path / "models" / "narrow_text" / "config.pbtxt").read_text()
    )


def test_an_error_is_a_sentence_and_not_a_traceback(tmp_path: Path) -> None:
    result = run("--model", "ViT-B32", "--out", tmp_path / "models")
    assert result.exit_code == 1
    assert "did you mean ViT-B-32" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "models").exists()


def test_the_former_name_of_zero_threads_is_accepted_with_a_warning(tmp_path: Path) -> None:
    result = run("--model", "ViT-B32", "--threads", "split", "--out", tmp_path / "models")
    assert "--threads split is deprecated; use --threads 0" in result.output
    result = run("--model", "ViT-B32", "--threads", "many", "--out", tmp_path / "models")
    assert result.exit_code == 2
    assert "'many' is not an integer of at least 0" in result.output


def test_the_list_needs_no_other_option() -> None:
    result = run("--list")
    assert result.exit_code == 0
    assert any(line.split()[:3] == ["ViT-B-32", "openai", "mit"] for line in result.output.splitlines())


def test_the_list_is_json_on_request() -> None:
    result = run("--list", "--json")
    first = json.loads(result.stdout)["pairs"][0]
    assert {"model", "pretrained", "exportable", "reason", "license", "license_source"} <= set(first)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "models"], "Missing option '--model'"),
        (["--model", "demo"], "Missing option '--out'"),
        (["--json"], "--json is the form of --list"),
    ],
)
def test_an_export_needs_a_model_and_a_folder(arguments: list[str], sentence: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert sentence in result.output


def test_weights_of_another_license_are_refused_before_they_are_downloaded(tmp_path: Path) -> None:
    arguments = ("--model", "ViT-B-32", "--pretrained", "openai", "--out", tmp_path)
    result = run(*arguments, "--licenses", "apache-2.0")
    assert result.exit_code == 1
    assert "openai has the license mit (LICENSE of the repository openai/CLIP)" in result.output


@pytest.mark.parametrize(("value", "words"), [("64,x", "not whole numbers"), ("64,,2", "not whole numbers")])
def test_matryoshka_dims_that_are_no_numbers_are_refused(tmp_path: Path, value: str, words: str) -> None:
    result = run("--model", "demo", "--matryoshka-dims", value, "--out", tmp_path)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("dims", "declared"), [((), ()), ((4, 2), (2, 4)), ((8, 2), (2,)), ((8,), ()), ((2, 2), (2,))]
)
def test_matryoshka_dims_are_declared_in_order_and_without_all(
    dims: tuple[int, ...], declared: tuple[int, ...]
) -> None:
    from clipserve_exporter.export import dims_of

    assert dims_of(dims, 8) == declared


@pytest.mark.parametrize("dim", [0, 9])
def test_more_dimensions_than_the_model_has_are_refused(dim: int) -> None:
    from clipserve_exporter.errors import ExportError
    from clipserve_exporter.export import dims_of

    with pytest.raises(
        ExportError, match=f"--matryoshka-dims has {dim}; the embeddings of this model have 8"
    ):
        dims_of((4, dim), 8)


def test_the_license_and_declared_dimensions_stand_in_the_configuration(
    tmp_path: Path, narrow_model: Callable[..., str]
) -> None:
    from clipserve_exporter.source import load
    from safetensors.torch import save_file

    name = narrow_model(tmp_path / "narrow")
    save_file(load(name).model.state_dict(), tmp_path / "narrow" / "open_clip_model.safetensors")
    options = ("--license", "MIT", "--licenses", "mit", "--matryoshka-dims", "8,4")
    result = run("--model", name, *options, "--out", tmp_path / "models")
    assert result.exit_code == 0, result.output
    assert "· license of the weights: mit (--license)" in result.output
    config = (tmp_path / "models" / "narrow_image" / "config.pbtxt").read_text()
    assert parameters_of(config)["license"] == "mit"
    assert parameters_of(config)["matryoshka_dims"] == "4 8"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("demo", "demo"),
        ("ViT-B-32", "vit-b-32"),
        ("local-dir:/a/My Model/", "my-model"),
        ("hf-hub:owner/CLIP-x", "clip-x"),
        ("local-dir:/", "model"),
        ("x" * 80, "x" * 64),
    ],
)
def test_the_name_comes_from_the_model(model: str, name: str) -> None:
    assert default_name(model) == name


def test_auto_says_which_precision_it_chose_and_why(tmp_path: Path, narrow_model: Callable[..., str]) -> None:
    model = narrow_model(tmp_path / "narrow")
    result = run("--model", model, "--precision", "auto", "--device", "cpu", "--out", tmp_path / "models")
    assert result.exit_code == 0, result.output
    assert "✓ precision fp32, chosen: in bf16 Triton's libtorch backend is slow on a CPU; " in result.output
    config = (tmp_path / "models" / "narrow_image" / "config.pbtxt").read_text()
    assert "kind: KIND_CPU" in config


def test_fp16_for_a_cpu_is_exported_with_a_warning(tmp_path: Path, narrow_model: Callable[..., str]) -> None:
    model = narrow_model(tmp_path / "narrow")
    options = ("--precision", "fp16", "--device", "cpu", "--format", "python")
    result = run("--model", model, *options, "--out", tmp_path / "models")
    assert result.exit_code == 0, result.output
    assert "! On a CPU fp16 is no faster than fp32" in result.output
