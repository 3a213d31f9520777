"""Tiny folders of transformers, written by transformers itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

TOWER = {"hidden_size": 64, "intermediate_size": 100, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**TOWER, "image_size": 32, "patch_size": 8}
TEXT = {**TOWER, "vocab_size": 99, "max_position_embeddings": 16, "eos_token_id": 98, "bos_token_id": 97}
PROCESSORS: dict[str, dict[str, Any]] = {
    "clip": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "crop_size": 32},
    "siglip": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 32, "width": 32}},
    "siglip2": {
        "image_processor_type": "SiglipImageProcessor",
        "size": {"height": 32, "width": 32},
        "resample": 2,
    },
    "chinese_clip": {
        "image_processor_type": "ChineseCLIPImageProcessor",
        "do_center_crop": False,
        "size": {"height": 32, "width": 32},
    },
}
Made = tuple[Path, Any]


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Made]:
    """Makes a folder with random weights; `text`, `vision` and other settings change its configuration.

    Returns the folder and transformers' model.
    """
    import transformers

    classes = {
        "clip": (transformers.CLIPConfig, transformers.CLIPModel),
        "siglip": (transformers.SiglipConfig, transformers.SiglipModel),
        "siglip2": (transformers.Siglip2Config, transformers.Siglip2Model),
        "chinese_clip": (transformers.ChineseCLIPConfig, transformers.ChineseCLIPModel),
    }

    def make(kind: str, text: dict | None = None, vision: dict | None = None, **changes: Any) -> Made:
        config_class, model_class = classes[kind]
        towers = {"text_config": TEXT | (text or {}), "vision_config": VISION | (vision or {})}
        if kind == "siglip2":
            towers["vision_config"]["num_patches"] = 16
        if kind in ("clip", "chinese_clip"):
            changes = {"projection_dim": 48} | changes
        saving = {"max_shard_size": changes.pop("max_shard_size", "1GB")}
        torch.manual_seed(0)
        model = model_class(config_class(**towers, **changes)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.15)
        folder = tmp_path / kind
        model.save_pretrained(folder, **saving)
        (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[kind]))
        return folder, model

    return make
