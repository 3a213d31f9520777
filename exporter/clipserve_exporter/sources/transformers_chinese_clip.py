"""transformers' ChineseCLIPModel as open_clip's CustomTextCLIP with BERT for texts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from open_clip.model import CustomTextCLIP
from torch import Tensor

from clipserve_exporter.errors import ExportError
from clipserve_exporter.sources.renaming import Renaming
from clipserve_exporter.sources.skeleton import filled
from clipserve_exporter.sources.transformers_clip import clip_vision
from clipserve_exporter.sources.transformers_config import activation, epsilon, require_rgb, vision_config

CONTEXT_LENGTH = 52
"""Tokens of a text in the training of Chinese-CLIP. Its BERT has more positions, which were not trained."""
BERT = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id",
)  # fmt: skip
"""What the configuration of the text tower has in common with BERT's, and its embeddings depend on."""
HEAD = {"hf_proj_type": "linear", "hf_pooler_type": "cls_last_hidden_state_pooler"}


def chinese_clip_model(
    config: Any, state: Mapping[str, Tensor], what: str
) -> tuple[CustomTextCLIP, dict[str, Any]]:
    """Returns the model with its weights, and its configuration. Raises ExportError if they do not fit."""
    vision, text = config.vision_config, config.text_config
    require_rgb(vision)
    positions = getattr(text, "position_embedding_type", None) or "absolute"
    if positions != "absolute":
        raise ExportError(f"config.json has position_embedding_type {positions!r}; supported is 'absolute'")
    mapped: dict[str, Any] = {
        "embed_dim": config.projection_dim,
        "quick_gelu": activation(vision) == "quick_gelu",
        "vision_cfg": vision_config(vision),
    }
    bert = {key: getattr(text, key) for key in BERT} | {"layer_norm_eps": epsilon(text)}
    renaming = Renaming(state, what)
    clip_vision(renaming, vision.num_hidden_layers)
    renaming.drop("text_model.pooler.")
    renaming.subtree("text_model.", "text.transformer.")
    renaming.move("text_projection.weight", "text.proj.weight")
    renaming.move("logit_scale", "logit_scale")
    with tempfile.TemporaryDirectory(prefix="clipserve-bert-") as folder:
        # open_clip reads BERT's configuration from a folder.
        (Path(folder) / "config.json").write_text(json.dumps({"model_type": "bert"} | bert))
        encoder = HEAD | {"hf_model_name": folder, "hf_model_pretrained": False}
        model = filled(lambda: CustomTextCLIP(**mapped, text_cfg=encoder), renaming.finish())
    model.text.context_length = min(CONTEXT_LENGTH, text.max_position_embeddings)
    context = {"context_length": model.text.context_length, "vocab_size": text.vocab_size}
    return model, mapped | {"custom_text": True, "text_cfg": HEAD | context | {"bert": bert}}
