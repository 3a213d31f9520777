"""A configuration that names huge sizes is refused before memory is taken for them."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from clipserve_exporter.errors import ExportError
from clipserve_exporter.source import load
from clipserve_exporter.sources.skeleton import filled, require_sizes
from clipserve_exporter.sources.transformers_folder import load_transformers
from safetensors.torch import save_file
from torch import nn

Make = Callable[..., tuple[Path, Any]]
HUGE = 1 << 40


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Ends an allocation of the sizes of these tests with an error, in place of the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    ("kind", "tower", "changes", "sentence"),
    [
        ("clip", "vision_config", {"image_size": 1 << 22}, "size mismatch for visual.positional_embedding"),
        ("clip", "text_config", {"vocab_size": 1 << 30}, "size mismatch for token_embedding.weight"),
        ("clip", "text_config", {"max_position_embeddings": 1 << 24}, "size mismatch for positional_emb"),
        ("clip", "text_config", {"num_hidden_layers": HUGE}, "is missing"),
        ("siglip", "vision_config", {"image_size": 1 << 22}, "size mismatch for visual.trunk.pos_embed"),
        ("chinese_clip", "text_config", {"vocab_size": 1 << 30}, "size mismatch for text.transformer"),
        ("chinese_clip", "text_config", {"num_hidden_layers": HUGE}, "parts, and the weights have 71"),
    ],
)  # fmt: skip
def test_a_folder_of_transformers(
    made: Make, kind: str, tower: str, changes: dict[str, int], sentence: str
) -> None:
    folder, _ = made(kind)
    config = json.loads((folder / "config.json").read_text())
    config[tower] |= changes
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match=sentence):
        load_transformers(folder)


VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of open_clip whose configuration lies: the weights are those without the changes."""

    def make(**changes: dict[str, Any]) -> Path:
        config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
        torch.manual_seed(0)
        save_file(open_clip.model.CLIP(**config).state_dict(), tmp_path / "open_clip_model.safetensors")
        config |= {key: config[key] | value for key, value in changes.items()}
        content = {"model_cfg": config, "preprocess_cfg": {}}
        (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
        return tmp_path

    return make


def test_an_honest_folder_is_loaded(folder: Callable[..., Path]) -> None:
    source = load(str(folder()))
    assert (source.embed_dim, source.pretrained) == (16, "open_clip_model.safetensors")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"vision_cfg": {"width": 1 << 17}}, "network of [0-9,]+ numbers, and the weights have 1,7"),
        ({"vision_cfg": {"image_size": 1 << 22}}, "are of another model"),
        ({"vision_cfg": {"layers": HUGE}}, "more than 1,500 parts, and the weights have 50 tensors"),
        ({"text_cfg": {"context_length": 1 << 24}}, "are of another model"),
        ({"text_cfg": {"vocab_size": 1 << 34}}, "are of another model"),
        (
            {"vision_cfg": {"image_size": 1 << 22, "pos_embed_type": "sin_cos_2d"}},
            r"image_size 4194304 and patch_size 8: [0-9,]+ patches, at most 65,536",
        ),
    ],
)
def test_a_folder_of_open_clip(folder: Callable[..., Path], changes: dict[str, Any], sentence: str) -> None:
    path = folder(**changes)
    with pytest.raises(ExportError, match=sentence):
        load(str(path))


def test_more_positions_than_the_weights_have_are_interpolated_as_before(folder: Callable[..., Path]) -> None:
    source = load(str(folder(vision_cfg={"image_size": 64})))
    assert any("interpolates their position embeddings to 64 × 64" in warning for warning in source.warnings)


def test_a_model_that_needs_memory_to_be_built_is_built_with_it() -> None:
    def make() -> nn.Module:
        layer = nn.Linear(2, 2)
        float(layer.weight.sum())
        return layer

    require_sizes(make, {}, {"weight": torch.ones(2, 2)})


def test_a_filled_model_has_the_weights_in_memory() -> None:
    weights = {"weight": torch.full((2, 3), 5.0), "bias": torch.zeros(2)}
    model = filled(lambda: nn.Linear(3, 2), weights)
    assert model.weight.device.type == "cpu"
    assert torch.equal(model.weight, weights["weight"])
