"""transformers' SiglipModel and Siglip2Model as open_clip's CustomTextCLIP with timm's image tower."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from open_clip.model import CustomTextCLIP
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from clipserve_exporter.errors import ExportError
from clipserve_exporter.sources.renaming import OPEN_CLIP, TIMM, Renaming, move_blocks
from clipserve_exporter.sources.skeleton import filled
from clipserve_exporter.sources.transformers_config import (
    TANH,
    activation,
    epsilon,
    head_width,
    integer,
    mlp_ratio,
    require_rgb,
    text_config,
)

PLACEHOLDER = {"layers": 1, "width": 64, "patch_size": 16, "image_size": 16}
"""Image tower that open_clip builds and timm's replaces."""
PATCHES = "vision_model.embeddings.patch_embedding.weight"


class TimmTower(nn.Module):
    """Image tower whose weights have the names of open_clip's TimmModel, but whose sizes are free."""

    def __init__(self, trunk: VisionTransformer, image_size: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.image_size = (image_size, image_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 [B, 3, S, S] → float32 [B, D]."""
        return self.trunk(pixels)


def siglip_model(
    config: Any, state: Mapping[str, Tensor], what: str
) -> tuple[CustomTextCLIP, dict[str, Any]]:
    """Returns the model with its weights, and its configuration. Raises ExportError if they do not fit."""
    vision, text = config.vision_config, config.text_config
    require_rgb(vision)
    if not getattr(vision, "vision_use_head", True):
        raise ExportError("config.json has vision_use_head false: its images have no embedding")
    width = getattr(text, "projection_size", None) or text.hidden_size
    if width != vision.hidden_size:
        raise ExportError(
            f"config.json has image embeddings of {vision.hidden_size} and text embeddings of {width} "
            "dimensions"
        )
    if activation(text) == "quick_gelu":
        raise ExportError("config.json has hidden_act 'quick_gelu', which is not supported for SigLIP")
    size = image_size(vision)
    settings = {
        "img_size": size,
        "patch_size": integer(vision, "patch_size"),
        "embed_dim": vision.hidden_size,
        "depth": vision.num_hidden_layers,
        "num_heads": vision.hidden_size // head_width(vision),
        "mlp_ratio": mlp_ratio(vision),
    }
    text_cfg = text_config(text) | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}

    def make() -> CustomTextCLIP:
        trunk = VisionTransformer(
            **settings,
            num_classes=0,
            global_pool="map",
            class_token=False,
            norm_layer=partial(nn.LayerNorm, eps=epsilon(vision)),
            act_layer=timm_activation(vision),
        )
        model = CustomTextCLIP(
            embed_dim=width, vision_cfg=PLACEHOLDER, text_cfg=text_cfg, init_logit_bias=0.0
        )
        model.visual = TimmTower(trunk, size)
        return model

    model = filled(make, renamed(state, vision, text, what))
    norm = {"eps": epsilon(vision), "act": timm_activation(vision)}
    vision_cfg = {"image_size": size, "timm": settings | norm, "timm_pool": "map", "timm_proj": "none"}
    return model, {"embed_dim": width, "custom_text": True, "vision_cfg": vision_cfg, "text_cfg": text_cfg}


def image_size(vision: Any) -> int:
    """Returns the side of an image in pixels."""
    patches = getattr(vision, "num_patches", None)
    if patches is None:
        return integer(vision, "image_size")
    # Siglip2Model has the number of patches in place of a size.
    side = math.isqrt(patches)
    if side * side != patches:
        raise ExportError(f"config.json has num_patches {patches}, which is not a square")
    return side * integer(vision, "patch_size")


def timm_activation(vision: Any) -> str:
    """Returns timm's name of the activation."""
    return "gelu_tanh" if activation(vision) in TANH else activation(vision)


def renamed(state: Mapping[str, Tensor], vision: Any, text: Any, what: str) -> dict[str, Tensor]:
    """Returns the weights under open_clip's names."""
    state = dict(state)
    for scalar in ("logit_scale", "logit_bias"):
        if scalar in state:
            state[scalar] = state[scalar].reshape(())
    if PATCHES in state and state[PATCHES].dim() == 2:
        # Siglip2Model multiplies flattened patches, whose last axis is the color.
        side = vision.patch_size
        state[PATCHES] = state[PATCHES].reshape(-1, side, side, 3).permute(0, 3, 1, 2).contiguous()
    renaming = Renaming(state, what)
    image_tower(renaming, vision.num_hidden_layers)
    text_tower(renaming, text.num_hidden_layers)
    renaming.move("logit_scale", "logit_scale")
    renaming.move("logit_bias", "logit_bias")
    return renaming.finish()


def image_tower(renaming: Renaming, layers: int) -> None:
    """Moves the image tower with its attention pooling."""
    old, new = "vision_model", "visual.trunk"
    renaming.layer(f"{old}.embeddings.patch_embedding", f"{new}.patch_embed.proj")
    positions = renaming.take(f"{old}.embeddings.position_embedding.weight")
    renaming.renamed[f"{new}.pos_embed"] = positions.unsqueeze(0)
    move_blocks(renaming, old, new, layers, TIMM)
    renaming.layer(f"{old}.post_layernorm", f"{new}.norm")
    renaming.move(f"{old}.head.probe", f"{new}.attn_pool.latent")
    for part in ("weight", "bias"):
        query, *others = renaming.take(f"{old}.head.attention.in_proj_{part}").chunk(3)
        renaming.renamed[f"{new}.attn_pool.q.{part}"] = query.contiguous()
        renaming.renamed[f"{new}.attn_pool.kv.{part}"] = torch.cat(others)
    renaming.layer(f"{old}.head.attention.out_proj", f"{new}.attn_pool.proj")
    renaming.layer(f"{old}.head.layernorm", f"{new}.attn_pool.norm")
    renaming.layer(f"{old}.head.mlp.fc1", f"{new}.attn_pool.mlp.fc1")
    renaming.layer(f"{old}.head.mlp.fc2", f"{new}.attn_pool.mlp.fc2")


def text_tower(renaming: Renaming, layers: int) -> None:
    """Moves the text tower."""
    old, new = "text_model", "text"
    renaming.move(f"{old}.embeddings.token_embedding.weight", f"{new}.token_embedding.weight")
    renaming.move(f"{old}.embeddings.position_embedding.weight", f"{new}.positional_embedding")
    move_blocks(renaming, old, f"{new}.transformer", layers, OPEN_CLIP)
    renaming.layer(f"{old}.final_layer_norm", f"{new}.ln_final")
    renaming.layer(f"{old}.head", f"{new}.text_projection")
