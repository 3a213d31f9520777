"""Licenses of weights: known for published ones, read from folders, and what is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest
from clipserve_exporter.errors import ExportError
from clipserve_exporter.source import known_license
from clipserve_exporter.sources.licenses import License, chosen, of_folder, of_hub, require_allowed

MIT = License("mit", "a card")


@pytest.mark.parametrize(
    ("repository", "name"),
    [
        ("timm/vit_base_patch32_clip_224.openai/", "mit"),
        ("timm/resnet50_clip.openai/", "mit"),
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K/", "mit"),
        ("timm/ViT-B-16-SigLIP2/", "apache-2.0"),
        ("timm/vit_base_patch16_clip_224.metaclip_400m/", "cc-by-nc-4.0"),
        ("apple/DFN5B-CLIP-ViT-H-14-378/", "apple-amlr"),
        ("jienengchen/ViTamin-S/pytorch_model.bin", "mit"),
        ("timm/resnet50_clip.cc12m/", ""),
        ("somebody/CLIP-ViT-B-32", ""),
        ("", ""),
    ],
)
def test_published_weights_have_their_license_or_none(repository: str, name: str) -> None:
    license = of_hub(repository)
    assert license.name == name
    assert bool(license.source) == bool(name), "a license without source is not known"


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ("---\nlicense: Apache-2.0\ntags: [a]\n---\n# A model", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: my-terms\n---\n", "my-terms"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ("---\ntags: [a]\n---\n", ""),
        ("---\nlicense: [\n---\n", ""),
        ("# A model\nlicense: mit\n", ""),
    ],
)
def test_a_folder_names_its_license_in_its_card(tmp_path: Path, card: str, name: str) -> None:
    (tmp_path / "README.md").write_text(card)
    assert of_folder(tmp_path).name == name


def test_a_folder_without_a_card_has_an_unknown_license(tmp_path: Path) -> None:
    assert of_folder(tmp_path) == License()
    assert License().words == "unknown"


def test_the_user_may_say_an_unknown_license_but_not_another_one() -> None:
    assert chosen(License(), " MIT ") == License("mit", "--license")
    assert chosen(MIT, "") == chosen(MIT, "MIT") == MIT
    with pytest.raises(ExportError, match=r"is mit \(a card\), and --license says apache-2.0; omit"):
        chosen(MIT, "apache-2.0")


def test_licenses_that_are_not_accepted_are_refused() -> None:
    for accepted in ((), ("",), ("MIT",), ("apache-2.0", "mit")):
        require_allowed(MIT, accepted, "w.pt")
    with pytest.raises(ExportError, match=r"w\.pt has the license mit \(a card\), and --licenses allows"):
        require_allowed(MIT, ("gpl",), "w.pt")
    with pytest.raises(ExportError, match=r"w\.pt has an unknown license, .*--license NAME"):
        require_allowed(License(), ("mit",), "w.pt")
    require_allowed(License(), (), "w.pt")


def test_each_source_of_weights_has_its_license(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "w.pt").write_bytes(b"")
    found = {
        ("demo", ""): "apache-2.0",
        ("ViT-B-32", "openai"): "mit",
        ("ViT-B-32", f"openai={tmp_path / 'w.pt'}"): "mit",
        ("ViT-B-32", str(tmp_path / "w.pt")): "",
        ("hf-hub:timm/PE-Core-B-16", ""): "apache-2.0",
        (f"local-dir:{tmp_path}", ""): "mit",
        (str(tmp_path), ""): "mit",
    }
    for (model, pretrained), name in found.items():
        license = known_license(model, pretrained)
        assert license is not None
        assert license.name == name
    assert known_license("ViT-B-32", "") is None, "random weights have no license"
