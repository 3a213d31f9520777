"""The fingerprint: which embedding space a vector belongs to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from clipserve_exporter.source import Source

TRAINING_ONLY = {
    "output_tokens",
    "patch_dropout",
    "timm_drop",
    "timm_drop_path",
    "timm_model_pretrained",
}
"""Settings without influence on an embedding."""


def fingerprint(source: Source, weights_sha256: str) -> str:
    """64 hex digits over what decides the embeddings.

    Precision and format are not among it: the bound on parity is what admits them, so machines that
    differ in them share one collection. Names are not either: the same weights in the same network are
    the same, wherever they were loaded from.
    """
    facts = {
        "architecture": architecture(source.config),
        "context_length": source.context_length,
        "preprocess": {
            "crop": "center",
            "interpolation": "bicubic",
            "mean": source.preprocess.mean,
            "resize": "shortest",
            "size": source.preprocess.size,
            "std": source.preprocess.std,
        },
        "tokenizer": "openai_bpe",
        "weights_sha256": weights_sha256,
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a model's configuration says of the network, without what is open_clip's default.

    So neither a setting that is spelled out needlessly nor one that open_clip adds later changes it.
    """
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    return {
        "embed_dim": config["embed_dim"],
        "quick_gelu": bool(config.get("quick_gelu", False)),
        "text": differing(config["text_cfg"], CLIPTextCfg()),
        "vision": differing(config["vision_cfg"], CLIPVisionCfg()),
    }


def differing(config: Mapping[str, Any], defaults: Any) -> dict[str, Any]:
    """The settings of a tower that are not the default."""
    usual = dataclasses.asdict(defaults)
    return {
        key: value
        for key, value in config.items()
        if key not in TRAINING_ONLY and (key not in usual or usual[key] != value)
    }
