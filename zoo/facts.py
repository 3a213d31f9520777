"""What decides how a model is handled: classes, switches, tokenizer and preprocessing. Needs open_clip.

.venv-models/bin/python -m zoo.facts      # writes zoo/data/pairs.json
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from clipserve_exporter.torchvision_shim import make_importable
from torch import nn

from zoo import DATA
from zoo.hub_towers import write_config
from zoo.proofs import sibling
from zoo.tokenizer_kinds import kind_of

make_importable()

import open_clip  # noqa: E402  (needs torchvision to be importable)
from open_clip import pretrained as tags  # noqa: E402

PAIRS = DATA / "pairs.json"
NAMES = frozenset({"training", "training_mode", "name", "fused_attn", "output_tokens", "output_dict"})
"""Attributes of modules that do not change what they compute."""


def traits(module: nn.Module) -> list[str]:
    """The classes of a module and its parts, with their switches: all boolean attributes."""
    switches = set()
    for part in module.modules():
        name = f"{type(part).__module__}.{type(part).__qualname__}"
        switches.add(name)
        for key, value in vars(part).items():
            if isinstance(value, bool) and not key.startswith("_") and key not in NAMES:
                switches.add(f"{name}.{key}={value}")
    return sorted(switches)


def text_parts(model: Any) -> tuple[list[str], dict[str, Any]]:
    """The traits of the text tower, and how it pools."""
    tower = getattr(model, "text", None)
    if tower is None:
        others = nn.ModuleList(part for name, part in model.named_children() if name != "visual")
        pool = {"pool": model.text_pool_type, "causal": model.attn_mask is not None}
        return traits(others), pool
    if hasattr(tower, "pooler"):
        return traits(tower), {"pool": type(tower.pooler).__name__, "projection": type(tower.proj).__name__}
    return traits(tower), {
        "pool": tower.pool_type,
        "causal": tower.attn_mask is not None,
        "cls": getattr(tower, "cls_emb", None) is not None,
        "projection": type(tower.text_projection).__name__,
    }


def image_switches(model: Any) -> dict[str, Any]:
    """How the image tower pools, in words of its own."""
    visual = getattr(model.visual, "trunk", model.visual)
    keys = ("pool_type", "global_pool", "attn_pool_type", "final_ln_after_pool")
    return {key: value for key in keys if isinstance(value := getattr(visual, key, None), str | bool)}


def key_of(model: Any, kind: str, tokenizer: Mapping[str, Any], preprocess: Mapping[str, Any]) -> str:
    """What all models of a kind have in common, as a hash: the first 12 hex digits.

    Args:
        kind: of the tokenizer.
        tokenizer: `tokenizer_kwargs`.
        preprocess: open_clip's `size`, `interpolation` and `resize_mode`.
    """
    text, pooling = text_parts(model)
    size = preprocess["size"]
    square = isinstance(size, int) or size[0] == size[1]
    parts = {
        "image": traits(model.visual),
        "image switches": image_switches(model),
        "text": text,
        "text switches": pooling,
        "tokenizer": [kind, tokenizer.get("clean", ""), bool(tokenizer.get("strip_sep_token"))],
        "preprocess": [preprocess["resize_mode"], preprocess["interpolation"], square],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def on_meta(name: str, quick: bool, folder: Path) -> Any:
    """An architecture without memory for its weights; Hugging Face towers are small ones of their class."""
    text = open_clip.get_model_config(name)["text_cfg"]
    if hub := text.get("hf_model_name"):
        text |= {"hf_model_name": str(write_config(hub, folder, 1000)), "hf_model_pretrained": False}
    with torch.device("meta"):
        return open_clip.create_model(
            name, device="meta", load_weights=False, pretrained_text=False, text_cfg=text, quick_gelu=quick
        )


def activation(name: str, tag: str) -> bool:
    """Whether weights have QuickGELU: as the tag says, or the architecture that has no sibling without it."""
    quick = bool(tags.get_pretrained_cfg(name, tag).get("quick_gelu"))
    own = bool(open_clip.get_model_config(name).get("quick_gelu"))
    return quick if quick != own and sibling(name) in open_clip.list_models() else own


def pair_facts(name: str, tag: str, model: Any) -> dict[str, Any]:
    """What the document says of an architecture with the weights of a tag."""
    config, weights = open_clip.get_model_config(name), dict(tags.get_pretrained_cfg(name, tag))
    text = config["text_cfg"]
    size = model.visual.image_size
    preprocess = {key: weights[key] for key in ("interpolation", "resize_mode")} | {"size": size}
    kind = kind_of(text)
    million = round(sum(one.numel() for one in model.parameters()) / 1e6, 1)
    return {
        "architecture": name,
        "tag": tag,
        "hub": weights.get("hf_hub", "").strip("/"),
        "embed_dim": config["embed_dim"],
        "image_size": [size, size] if isinstance(size, int) else list(size),
        "tokenizer": kind,
        "resize": preprocess["resize_mode"],
        "interpolation": preprocess["interpolation"],
        "other_activation": activation(name, tag) != bool(config.get("quick_gelu")),
        "million_parameters": None if text.get("hf_model_name") else million,
        "key": key_of(model, kind, text.get("tokenizer_kwargs") or {}, preprocess),
    }


def pairs() -> list[dict[str, Any]]:
    """The facts of every pair that open_clip lists."""
    logging.disable(logging.CRITICAL)
    facts, models = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, tag in open_clip.list_pretrained():
            chosen = name, activation(name, tag)
            if chosen not in models:
                models[chosen] = on_meta(*chosen, Path(folder))
            facts.append(pair_facts(name, tag, models[chosen]))
    return facts


def main() -> None:
    """Writes the facts of all pairs."""
    rows = pairs()
    content = {"open_clip": open_clip.__version__, "pairs": rows}
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    PAIRS.write_text(f'{{"open_clip": "{content["open_clip"]}", "pairs": [\n{lines}\n]}}\n')
    print(f"{PAIRS}: {len(rows)} pairs of {len({row['key'] for row in rows})} kinds")


if __name__ == "__main__":
    main()
