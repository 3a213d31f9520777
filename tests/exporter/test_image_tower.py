"""Image towers of every family of open_clip, made small: exact, for any batch, and bound to no device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
from clipserve_exporter.parity import image_cases
from clipserve_exporter.source import Source
from clipserve_exporter.torchscript import baked_devices, export_image

Narrow = Callable[..., Source]
FLAT = {"embed_dim": 64, "depth": 2, "num_heads": 2, "img_size": 64}
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ViT, class token": ({}, {}),
    "ViT, mean of patches (CLIPA)": (
        {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}, {},
    ),
    "ViT, layer scale": ({"ls_init_value": 1e-4}, {}),
    "ViT, attentional pool (CoCa)": (
        {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 4, "output_tokens": True},
        {},
    ),
    "ResNet": ({"layers": [1, 1, 1, 1], "width": 16}, {}),
    "SigLIP": (
        {"timm_model_name": "vit_base_patch16_siglip_224", "timm_pool": "map", "timm_proj": "none"}, FLAT,
    ),
    "EVA-01": (
        {"timm_model_name": "eva_giant_patch14_224", "timm_pool": "token", "image_size": 56},
        FLAT | {"img_size": 56},
    ),
    "EVA-02": ({"timm_model_name": "eva02_base_patch16_clip_224", "timm_pool": "token"}, FLAT),
    "PE": ({"timm_model_name": "vit_pe_core_tiny_patch16_384", "timm_pool": "map"}, FLAT),
    "MobileCLIP-B": (
        {"timm_model_name": "vit_base_mci_224", "timm_pool": "token"}, {"depth": 1, "img_size": 64},
    ),
    "MobileCLIP-S0": (
        {"timm_model_name": "fastvit_mci0", "timm_pool": "avg"},
        {"layers": (1, 1, 1, 1), "embed_dims": (32, 32, 64, 64)},
    ),
    "MobileCLIP2-S3": (
        {"timm_model_name": "fastvit_mci3", "timm_pool": "avg"},
        {"layers": (1, 1, 1, 1, 1), "embed_dims": (32, 32, 32, 64, 64)},
    ),
    "ViTamin": (
        {"timm_model_name": "vitamin_small_224", "timm_pool": "", "timm_proj": "linear"},
        {"depth": 1, "img_size": 64},
    ),
    "ConvNeXt": (
        {"timm_model_name": "convnext_base", "timm_pool": "", "timm_proj": "linear"},
        {"depths": (1, 1, 1, 1), "dims": (16, 16, 32, 32)},
    ),
    "ConvNeXt, MLP": (
        {"timm_model_name": "convnext_large", "timm_pool": "", "timm_proj": "mlp"},
        {"depths": (1, 1, 1, 1), "dims": (16, 16, 32, 32)},
    ),
    "Swin": (
        {"timm_model_name": "swin_base_patch4_window7_224", "timm_pool": "", "timm_proj": "linear",
         "image_size": 224},
        {"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 2)},
    ),
    "ViT, relative positions": (
        {"timm_model_name": "vit_relpos_medium_patch16_cls_224", "timm_pool": "", "timm_proj": "linear"},
        FLAT,
    ),
    "ViT, mean of patches of timm": (
        {"timm_model_name": "vit_medium_patch16_gap_256", "timm_pool": "", "timm_proj": "linear"}, FLAT,
    ),
}  # fmt: skip


@pytest.fixture
def small(narrow_tower: Narrow, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Source]:
    """Makes a small model of a family: timm's functions of the real architectures, with fewer layers."""

    def make(family: str) -> Source:
        vision, sizes = FAMILIES[family]
        create = timm.create_model
        monkeypatch.setattr(timm, "create_model", lambda name, **given: create(name, **given | sizes))
        coca = {"multimodal_cfg": {"width": 64, "heads": 2, "layers": 1}} if "CoCa" in family else {}
        if coca:
            coca["text_cfg"] = {"output_tokens": True}
        return narrow_tower(
            vision_cfg={"image_size": 64, "patch_size": 16} | vision, custom_text=True, **coca
        )

    return make


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_of_every_family_is_exact_and_names_no_device(
    small: Callable[[str], Source], family: str
) -> None:
    source = small(family)
    graph = export_image(source, "fp32")
    assert baked_devices(graph) == []
    for case in image_cases(source, graph, "fp32"):
        assert case.good, case
