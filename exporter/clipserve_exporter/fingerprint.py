"""The fingerprint, which identifies the embedding space of a model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from clipserve_exporter.preprocessing import Preprocess
from clipserve_exporter.source import Source
from clipserve_exporter.tokenizer_facts import TokenizerFacts

TRAINING_ONLY = {
    "output_tokens",
    "patch_dropout",
    "timm_drop",
    "timm_drop_path",
    "timm_model_pretrained",
}
"""Settings that do not influence embeddings."""
NAMES = {"hf_model_name", "hf_model_pretrained", "hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode"}
"""Settings whose effect is part of the fingerprint by itself: the tokenizer and the text encoder."""
NAMES_OF_ENCODER = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
"""What a configuration of transformers tells that does not influence embeddings."""


def fingerprint(source: Source, weights_sha256: str) -> str:
    """Returns 64 hex digits: a hash of everything that determines the embeddings.

    Precision and format are left out, since parity bounds their influence: machines with different precisions
    can share a collection. Names are left out too: equal weights in equal networks give equal embeddings.
    """
    facts = {
        "architecture": architecture(source.config),
        "context_length": source.context_length,
        "preprocess": preprocessing(source.preprocess),
        "tokenizer": tokenization(source.tokenizer),
        "weights_sha256": weights_sha256,
    }
    if source.config["text_cfg"].get("hf_model_name"):
        facts["text_encoder"] = text_encoder(source.model.text.config)
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def preprocessing(preprocess: Preprocess) -> dict[str, Any]:
    """Returns what determines the pixels. A square has one size, as in the fingerprints of schema 1."""
    height, width, fill = preprocess.height, preprocess.width, preprocess.fill
    facts = {
        "crop": "center",
        "interpolation": preprocess.interpolation,
        "mean": preprocess.mean,
        "resize": preprocess.resize,
        "size": height if height == width else [height, width],
        "std": preprocess.std,
    }
    return facts | {"fill": fill} if preprocess.resize == "longest" else facts


def tokenization(tokenizer: TokenizerFacts) -> str | dict[str, Any]:
    """Returns what determines the token ids.

    Which spelled-out special tokens are read is left out: ordinary texts contain none.
    """
    if tokenizer.kind == "openai_bpe":
        return tokenizer.kind
    facts = dataclasses.asdict(tokenizer)
    del facts["special_tokens"], facts["vocab_size"]
    return facts


def text_encoder(config: Any) -> dict[str, Any]:
    """Returns the settings of a text encoder of transformers that differ from their defaults."""
    return {key: value for key, value in config.to_diff_dict().items() if key not in NAMES_OF_ENCODER}


def architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of the network that differ from open_clip's defaults.

    Thus neither an explicit default nor a setting that open_clip adds later changes the fingerprint.
    """
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    return {
        "embed_dim": config["embed_dim"],
        "quick_gelu": bool(config.get("quick_gelu", False)),
        "text": differing(config["text_cfg"], CLIPTextCfg()),
        "vision": differing(config["vision_cfg"], CLIPVisionCfg()),
    }


def differing(config: Mapping[str, Any], defaults: Any) -> dict[str, Any]:
    """Returns the settings of a tower that differ from the defaults."""
    usual = dataclasses.asdict(defaults)
    return {
        key: value
        for key, value in config.items()
        if key not in TRAINING_ONLY | NAMES and (key not in usual or usual[key] != value)
    }
