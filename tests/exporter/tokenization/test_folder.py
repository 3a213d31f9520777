"""Where a tokenizer's files come from, and files that are cut, huge or missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from clipserve_exporter.errors import ExportError
from clipserve_exporter.tokenization import folder
from clipserve_exporter.tokenization.folder import load, place_of

from testing.tokenizers import Built


@pytest.fixture
def copied(tmp_path: Path, built: Callable[[str], Built]) -> Callable[[str], Path]:
    """A tokenizer's folder, to be damaged."""
    return lambda kind: shutil.copytree(built(kind).folder, tmp_path / kind)


def test_the_users_folder_comes_before_the_models_and_the_name(copied: Callable[[str], Path]) -> None:
    own, given, text_cfg = copied("siglip"), copied("clipa"), {"hf_tokenizer_name": "a/b"}
    assert place_of(text_cfg, own, given) == given
    assert place_of(text_cfg, own, None) == own
    assert place_of(text_cfg, None, None) == "a/b"


def test_the_name_counts_if_the_models_folder_has_no_tokenizer(tmp_path: Path) -> None:
    assert place_of({"hf_tokenizer_name": "a/b"}, tmp_path, None) == "a/b"


def test_a_users_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"has no tokenizer: it needs tokenizer_config.json"):
        place_of({"hf_tokenizer_name": "a/b"}, None, tmp_path)


def test_a_name_that_no_hub_gives_is_told_with_the_option() -> None:
    with pytest.raises(
        ExportError, match=r"the tokenizer timm/ViT-B-16-SigLIP could not be .*--tokenizer FOLDER"
    ):
        load({}, "timm/ViT-B-16-SigLIP")


@pytest.mark.parametrize(
    ("kind", "name"), [("siglip2", "tokenizer.json"), ("xlm_roberta", "sentencepiece.bpe.model")]
)
def test_a_file_that_is_cut_is_refused(kind: str, name: str, copied: Callable[[str], Path]) -> None:
    path = copied(kind) / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ExportError, match=r"cannot be read|is cut or damaged"):
        load({}, path.parent)


def test_a_file_that_is_huge_is_refused(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MAX_FILE", 1000)
    with pytest.raises(ExportError, match=r"tokenizer.json is too large for a tokenizer: .* at most 1,000"):
        load({}, copied("siglip2"))


def test_a_pointer_of_git_lfs_is_named(copied: Callable[[str], Path]) -> None:
    path = copied("siglip") / "spiece.model"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n")
    with pytest.raises(ExportError, match=r"spiece.model is a Git LFS pointer"):
        load({}, path.parent)


def test_the_mode_clips_is_refused(copied: Callable[[str], Path]) -> None:
    with pytest.raises(ExportError, match="tokenizer_mode 'clips'"):
        load({"tokenizer_mode": "clips"}, copied("clipa"))


def test_a_cleaning_rule_that_open_clip_does_not_have_is_refused(copied: Callable[[str], Path]) -> None:
    with pytest.raises(ExportError, match="clean 'upper'; supported are lower"):
        load({"tokenizer_kwargs": {"clean": "upper"}}, copied("clipa"))
