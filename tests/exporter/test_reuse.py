"""An export is made once: again only if options, files, packages or the repository changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from clipserve_exporter import reuse
from clipserve_exporter.cli import main
from clipserve_exporter.reuse import export_key, is_exported


def test_a_key_depends_on_options_files_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "w.pt"
    file.write_bytes(b"1")
    options = {"model": "ViT-B-32", "pretrained": f"openai={file}", "seed": 0}
    keys = [export_key(options), export_key(options), export_key(options | {"seed": 1})]
    os.utime(file, ns=(1, 1))
    keys.append(export_key(options))
    file.write_bytes(b"22")
    keys.append(export_key(options))
    monkeypatch.setattr(reuse, "version", lambda package: f"{package} 0")
    keys.append(export_key(options))
    assert keys[0] == keys[1]
    assert len(set(keys[1:])) == 5


def test_a_key_depends_on_the_files_of_a_folder(tmp_path: Path) -> None:
    options = {"model": f"local-dir:{tmp_path}"}
    before = export_key(options)
    (tmp_path / "model.safetensors").write_bytes(b"1")
    assert export_key(options) != before
    assert export_key({"model": str(tmp_path)}) != export_key(options), "the option differs"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_same_export_is_made_once(tmp_path: Path, narrow_model: Callable[..., str]) -> None:
    out = tmp_path / "models"
    order = (
        "--model",
        narrow_model(tmp_path / "narrow"),
        "--out",
        out,
        "--instances",
        1,
        "--format",
        "python",
    )
    assert "parity" in run(*order).output
    second = run(*order, "--reuse")
    assert second.exit_code == 0
    assert second.output.strip() == f"✓ narrow: {out} has this export already"
    assert not is_exported(out, "narrow", "another key")
    (out / "narrow_text" / "config.pbtxt").unlink()
    assert "parity" in run(*order, "--reuse").output


def test_random_weights_are_refused_on_request(tmp_path: Path, narrow_model: Callable[..., str]) -> None:
    for model in ("ViT-B-32", narrow_model(tmp_path / "narrow")):
        result = run("--model", model, "--out", tmp_path / "models", "--require-weights")
        assert result.exit_code == 1
        assert "has no weights: name them with --pretrained TAG or FILE" in result.output
    assert not (tmp_path / "models").exists()
