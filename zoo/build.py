"""Makes a row's model: a folder as a model hub would hold it, with random weights. Needs open_clip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from clipserve_exporter.torchvision_shim import make_importable
from torch import Tensor, nn

from testing.tokenizers import build as build_tokenizer
from zoo.hub_towers import write_config
from zoo.rows import Row
from zoo.tokenizer_kinds import OPENAI, kind_of

make_importable()

import open_clip  # noqa: E402  (needs torchvision to be importable)
import timm  # noqa: E402
from open_clip import pretrained as tags  # noqa: E402
from timm.models import register_model  # noqa: E402

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_pytorch_model.bin"
JITTER = 0.2
"""Standard deviation of what is added to vectors of weights, such as biases and layer scales."""


def write_model(row: Row, folder: Path, pictures: Tensor | None = None, seed: int = 0) -> Any:
    """Writes a row's configuration, tokenizer and weights into an empty folder; returns open_clip's model.

    Args:
        pictures: float32 [B, 3, H, W], from which batch norms take their statistics; noise by default.
    """
    folder.mkdir(parents=True)
    model_cfg = configuration(row, folder)
    weights = tags.get_pretrained_cfg(row.architecture, row.tag)
    preprocess = {key: weights[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    preprocess |= row.preprocess
    content = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}
    (folder / CONFIG).write_text(json.dumps(content, indent=1))
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    height, width = pair(model.visual.image_size)
    enliven(model, torch.rand(4, 3, height, width) if pictures is None else pictures, seed)
    torch.save(model.state_dict(), folder / WEIGHTS)
    return model.eval()


def configuration(row: Row, folder: Path) -> dict[str, Any]:
    """open_clip's configuration of a row, with names of local folders; writes the tokenizer."""
    config = open_clip.get_model_config(row.architecture)
    vision, text = config["vision_cfg"], config["text_cfg"]
    kind = kind_of(text)
    vocabulary = 0
    if kind != OPENAI:
        built = build_tokenizer(kind, folder)
        vocabulary = built.text_cfg["vocab_size"]
        text["hf_tokenizer_name"] = str(folder)
    if "hf_model_name" in text:
        text["hf_model_name"] = str(write_config(text["hf_model_name"], folder / "tower", vocabulary))
    elif vocabulary:
        text["vocab_size"] = vocabulary
    vision.update(row.vision)
    text.update(row.text)
    config.update(row.rest)
    config["embed_dim"] = row.embed_dim or config["embed_dim"]
    if row.timm:
        vision["timm_model_name"] = registered(row.name, vision["timm_model_name"], row.timm)
    return config


def registered(name: str, base: str, arguments: Mapping[str, Any]) -> str:
    """Enters a model of timm with other arguments into timm's list; returns its name there."""

    def make(pretrained: bool = False, **others: Any) -> nn.Module:
        for key in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
            others.pop(key, None)
        return timm.create_model(base, pretrained=False, **{**others, **arguments})

    make.__name__ = "zoo_" + name.replace("-", "_")
    register_model(make)
    return make.__name__


def enliven(model: nn.Module, pictures: Tensor, seed: int) -> None:
    """Makes random weights show faults: tiny layer scales, zero biases and fading signals would hide most.

    Gives matrices the variance at which signals keep their size, adds noise to all vectors of weights, and
    lets batch norms take their statistics from pictures.
    """
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if not weights.isfinite().all():
                # open_clip leaves a projection of CoCa's decoder, which no embedding needs, uninitialized.
                nn.init.zeros_(weights)
            if weights.dim() == 1:
                weights += JITTER * torch.randn(weights.shape, generator=noise)
            elif name.endswith(("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")):
                keep_size(weights)
        for part in model.modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                keep_size(part.weight)
        norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        model.eval()
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None
        if norms:
            model.encode_image(pictures)
    model.eval()


def keep_size(weights: Tensor) -> None:
    """Scales a matrix so that its output has the variance of its input."""
    fan_in = weights[0].numel()
    weights *= fan_in**-0.5 / weights.std().clamp(min=1e-12)


def pair(size: int | tuple[int, int] | list[int]) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
