"""transformers' CLIPModel as open_clip's CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from open_clip.model import CLIP
from torch import Tensor

from clipserve_exporter.errors import ExportError
from clipserve_exporter.preprocessing import is_whole
from clipserve_exporter.sources.renaming import OPEN_CLIP, Renaming, move_blocks
from clipserve_exporter.sources.skeleton import filled
from clipserve_exporter.sources.transformers_config import (
    both_quick,
    require_rgb,
    text_config,
    vision_config,
)

LEGACY_END = 2
"""End token in configurations that mean the highest token of a text instead."""


def clip_model(config: Any, state: Mapping[str, Tensor], what: str) -> tuple[CLIP, dict[str, Any]]:
    """Returns the model with its weights, and its configuration. Raises ExportError if they do not fit."""
    vision, text = config.vision_config, config.text_config
    require_rgb(vision)
    mapped = {
        "embed_dim": config.projection_dim,
        "quick_gelu": both_quick(text, vision),
        "vision_cfg": vision_config(vision),
        "text_cfg": text_config(text) | pooling(text),
    }
    renaming = Renaming(state, what)
    clip_vision(renaming, vision.num_hidden_layers)
    clip_text(renaming, text.num_hidden_layers)
    renaming.move("logit_scale", "logit_scale")
    return filled(lambda: CLIP(**mapped), renaming.finish()), mapped


def pooling(text: Any) -> dict[str, Any]:
    """Returns what reads the embedding at the end token: the highest token, or the first of a given id.

    Raises ExportError if the configuration names no token of the vocabulary.
    """
    end = text.eos_token_id
    if not is_whole(end, 0, max(LEGACY_END, text.vocab_size - 1)):
        raise ExportError(
            f"config.json has eos_token_id {end!r}; it must be a token of its {text.vocab_size:,} tokens"
        )
    if end in (LEGACY_END, text.vocab_size - 1):
        return {}
    return {"pool_type": "eos", "eos_id": end}


def clip_vision(renaming: Renaming, layers: int) -> None:
    """Moves the image tower."""
    renaming.move("vision_model.embeddings.class_embedding", "visual.class_embedding")
    renaming.move("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight")
    renaming.move("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding")
    renaming.layer("vision_model.pre_layrnorm", "visual.ln_pre")  # That is how transformers spells it.
    move_blocks(renaming, "vision_model", "visual.transformer", layers, OPEN_CLIP)
    renaming.layer("vision_model.post_layernorm", "visual.ln_post")
    renaming.renamed["visual.proj"] = renaming.take("visual_projection.weight").T.contiguous()


def clip_text(renaming: Renaming, layers: int) -> None:
    """Moves the text tower."""
    renaming.move("text_model.embeddings.token_embedding.weight", "token_embedding.weight")
    renaming.move("text_model.embeddings.position_embedding.weight", "positional_embedding")
    move_blocks(renaming, "text_model", "transformer", layers, OPEN_CLIP)
    renaming.layer("text_model.final_layer_norm", "ln_final")
    renaming.renamed["text_projection"] = renaming.take("text_projection.weight").T.contiguous()
