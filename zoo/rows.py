"""The rows: models that stand for families of open_clip's, full-size or shrunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VIT = {"width": 64, "layers": 2, "head_width": 32, "patch_size": 16, "image_size": 64}
"""A shrunk image tower of open_clip's own."""
TEXT = {"width": 64, "heads": 2, "layers": 2}
"""A shrunk text tower of open_clip's own."""
SIGLIP = {"embed_dim": 64, "depth": 2, "num_heads": 2, "patch_size": 16, "img_size": 64}
"""A shrunk ViT of timm."""

HYBRID = {"depth": 1, "img_size": 64}
"""A ViT with a patch embedding of convolutions, whose width is fixed."""


@dataclass(frozen=True)
class Row:
    """A model of the zoo. What is not changed is as open_clip's configuration of `architecture` says.

    Attributes:
        name: under which it is served.
        architecture: open_clip's name.
        tag: open_clip's name of weights. The row has their preprocessing; its weights are random.
        embed_dim: 0 for the architecture's own.
        vision: changes of `vision_cfg`.
        text: changes of `text_cfg`.
        timm: changed arguments of timm's image tower.
        preprocess: changes of the weights' preprocessing.
        rest: changes of the remaining configuration.
    """

    name: str
    architecture: str
    tag: str
    embed_dim: int = 0
    vision: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    timm: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    rest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shrunk(self) -> bool:
        """Whether the image tower is smaller than open_clip's."""
        return bool(self.timm) or "width" in self.vision or "layers" in self.vision


def full(name: str, architecture: str, tag: str, **text: Any) -> Row:
    """A row with the whole image tower."""
    return Row(name, architecture, tag, text=text)


def vit(name: str, architecture: str, tag: str, **text: Any) -> Row:
    """A row with a shrunk ViT of open_clip's own."""
    return Row(name, architecture, tag, embed_dim=64, vision=VIT, text={**TEXT, **text})


def hub(name: str, architecture: str, tag: str) -> Row:
    """A row with a shrunk ViT of open_clip's own and a small text tower of Hugging Face's."""
    return Row(name, architecture, tag, embed_dim=64, vision=VIT)


def timm(name: str, architecture: str, tag: str, text: Mapping[str, Any] = TEXT, **changes: Any) -> Row:
    """A row with a shrunk image tower of timm."""
    size = changes.get("img_size", 64)
    vision = {"image_size": size}
    return Row(name, architecture, tag, embed_dim=64, vision=vision, text=text, timm=changes)


def shrunk(row: Row, **rest: Any) -> Row:
    """The row with changes of the remaining configuration."""
    return Row(**{**vars(row), "rest": rest})


SMALL_COCA = {"width": 64, "heads": 2, "layers": 2, "attn_pooler_heads": 2, "context_length": 76}
SHALLOW = {"depths": (1, 1, 1, 1), "dims": (16, 24, 32, 64)}
"""A shrunk ConvNeXt."""
SHALLOW_MCI = {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 128)}
SHALLOW_FASTVIT = {"layers": (1, 1, 1, 1, 1), "embed_dims": (16, 32, 64, 128, 256)}
"""Shrunk FastViTs of four and of five stages."""

ALL = (
    # Full-size: the speed of these is worth knowing.
    full("rn50", "RN50-quickgelu", "openai"),
    full("vit-b-32", "ViT-B-32", "laion2b_s34b_b79k"),
    full("vit-b-16", "ViT-B-16", "laion2b_s34b_b88k"),
    full("convnext-base", "convnext_base", "laion400m_s13b_b51k"),
    full("siglip-b-16", "ViT-B-16-SigLIP", "webli"),
    full("siglip2-b-32", "ViT-B-32-SigLIP2-256", "webli"),
    full("mobileclip-s1", "MobileCLIP-S1", "datacompdr"),
    full("mobileclip-b", "MobileCLIP-B", "datacompdr"),
    full("mobileclip2-s0", "MobileCLIP2-S0", "dfndr2b"),
    full("vitamin-s", "ViTamin-S", "datacomp1b"),
    full("pe-core-t-16", "PE-Core-T-16-384", "meta"),
    full("pe-core-b-16", "PE-Core-B-16", "meta"),
    # Text towers and tokenizers of other kinds.
    hub("roberta", "roberta-ViT-B-32", "laion2b_s12b_b32k"),
    hub("xlm-roberta", "xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k"),
    hub("nllb", "nllb-clip-base", "v1"),
    timm("nllb-siglip", "nllb-clip-base-siglip", "v1", {}, **SIGLIP),
    timm("siglip-i18n", "ViT-B-16-SigLIP-i18n-256", "webli", **SIGLIP),
    timm("siglip-so400m-i18n", "ViT-SO400M-16-SigLIP-i18n-256", "webli", **SIGLIP),
    vit("clipa", "ViT-L-14-CLIPA", "datacomp1b"),
    vit("metaclip2", "ViT-H-14-worldwide", "metaclip2_worldwide"),
    vit("metaclip2-378", "ViT-H-14-worldwide-378", "metaclip2_worldwide"),
    vit("metaclip2-quickgelu", "ViT-H-14-worldwide-quickgelu", "metaclip2_worldwide"),
    # Large members of families, shrunk.
    vit("dfn5b", "ViT-H-14-quickgelu", "dfn5b"),
    timm("siglip-so400m", "ViT-SO400M-14-SigLIP", "webli", **SIGLIP),
    timm("siglip2-b-16", "ViT-B-16-SigLIP2", "webli", **SIGLIP),
    timm("siglip2-gopt", "ViT-gopt-16-SigLIP2-256", "webli", **SIGLIP),
    timm("convnext-large-d", "convnext_large_d", "laion2b_s26b_b102k_augreg", **SHALLOW),
    timm("convnext-xxlarge", "convnext_xxlarge", "laion2b_s34b_b82k_augreg", **SHALLOW),
    timm("eva01-g-14", "EVA01-g-14", "laion400m_s11b_b41k", **SIGLIP),
    timm("eva02-e-14", "EVA02-E-14", "laion2b_s4b_b115k", **SIGLIP),
    timm("eva02-b-16", "EVA02-B-16", "merged2b_s8b_b131k", **SIGLIP),
    timm("eva02-l-14", "EVA02-L-14", "merged2b_s4b_b131k", **SIGLIP),
    timm("mobileclip2-s2", "MobileCLIP2-S2", "dfndr2b", **SHALLOW_MCI),
    timm("mobileclip2-s3", "MobileCLIP2-S3", "dfndr2b", **SHALLOW_FASTVIT),
    timm("mobileclip2-l-14", "MobileCLIP2-L-14", "dfndr2b", **SIGLIP),
    timm("mobileclip-b-small", "MobileCLIP-B", "datacompdr", **HYBRID),
    timm("pe-core-l-14", "PE-Core-L-14-336", "meta", **SIGLIP),
    timm("pe-core-bigg-14", "PE-Core-bigG-14-448", "meta", **SIGLIP),
    Row(
        "rn50x4", "RN50x4-quickgelu", "openai", 64,
        {"layers": [1, 1, 1, 1], "width": 8, "head_width": 64, "image_size": 64}, TEXT,
    ),
    vit("vit-h-14", "ViT-H-14", "laion2b_s32b_b79k"),
    vit("vit-bigg-14-quickgelu", "ViT-bigG-14-quickgelu", "metaclip_fullcc"),
    shrunk(
        Row(
            "coca-vit-l-14", "coca_ViT-L-14", "laion2b_s13b_b90k", 64,
            {**VIT, "attn_pooler_heads": 2}, TEXT,
        ),
        multimodal_cfg={**SMALL_COCA, "vocab_size": 49408},
    ),
)  # fmt: skip
BILINEAR = {"interpolation": "bilinear"}
NLLB_BILINEAR = Row("nllb-bilinear", "nllb-clip-base", "v1", embed_dim=64, vision=VIT, preprocess=BILINEAR)
"""No pair of open_clip: it saves the tests a row."""
BY_NAME = {row.name: row for row in (*ALL, NLLB_BILINEAR)}
QUICK = ("siglip2-gopt", "clipa", "nllb-bilinear")
"""Tiny rows with every kind of preprocessing but the demo's, each with another kind of tokenizer; for tests.

They are few, since Triton starts a process for each of their models. `make zoo` has all kinds of tokenizers.
"""
