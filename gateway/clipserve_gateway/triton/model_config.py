"""Reads the specification of a model from the parameters of its two Triton configurations."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Collection, Mapping
from typing import TypeAlias

from clipserve_gateway.triton.model_inputs import ids_of, preprocess_of, tokenizer_of
from clipserve_gateway.triton.parameters import (
    VERSION,
    BadModelConfig,
    TowerConfig,
    check_shapes,
    embedding_of,
    finite_number,
    from_base64,
    one_of,
    positive_int,
    required,
)
from clipserve_gateway.types import Canary, ModelSpec, TokenizerSpec, Tower

SCHEMAS = ("1", "2")
IMAGE_SUFFIX, TEXT_SUFFIX = "_image", "_text"
TOWERS: tuple[Tower, ...] = ("image", "text")
PARSED = 256
"""Size of the cache of specifications: each refresh parses the same ones."""
HIGHEST_VERSION = 2**63 - 1
LARGEST_DIM = 65_536
"""Far above the dimensions of all known models."""

LoadedVersions: TypeAlias = Mapping[str, Collection[str]]
"""Triton model → its versions that are ready; empty if it is not ready."""


def bulk_batch_of(parameters: Mapping[str, str], most: int, *, free: bool) -> int:
    """Rows of one call of bulk work while there is interactive work, for a tower on a CPU.

    A whole batch if another instance with its own cores stays `free`; otherwise the size that the exporter's
    trial has measured, or 0 without a trial.
    """
    measured = parameters.get("bulk_batch", "")
    return most if free else min(int(measured), most) if measured.isdecimal() else 0


def is_tower(triton_name: str) -> bool:
    """Whether a Triton model's name is that of an image or text tower."""
    return triton_name.endswith((IMAGE_SUFFIX, TEXT_SUFFIX))


def tower_name(model: str, tower: Tower) -> str:
    """`demo` → `demo_image`."""
    return model + (IMAGE_SUFFIX if tower == "image" else TEXT_SUFFIX)


def tokenizer_name(model: str) -> str:
    """`demo` → `demo_tokenizer`: the Triton model of a tokenizer that travels with its model."""
    return f"{model}_tokenizer"


def model_name(triton_name: str) -> str:
    """`demo_image` → `demo`."""
    for suffix in (IMAGE_SUFFIX, TEXT_SUFFIX):
        if triton_name.endswith(suffix):
            return triton_name.removesuffix(suffix)
    return triton_name


@functools.lru_cache(maxsize=PARSED)
def parse_model(image: TowerConfig, text: TowerConfig) -> ModelSpec:
    """The model of two towers.

    Raises BadModelConfig, which names the parameter, if one is missing or wrong or the towers do not match.
    """
    name = model_name(image.triton_name)
    for tower, role in ((image, "image"), (text, "text")):
        one_of(tower, "schema", *SCHEMAS)
        one_of(tower, "tower", role)
        one_of(tower, "model", name)
        if not (tower.version.isdecimal() and 0 < int(tower.version) <= HIGHEST_VERSION):
            raise BadModelConfig(f"{tower.triton_name}: parameter {VERSION} is not a positive int64")
    for key in ("fingerprint", "embed_dim", "context_length", "logit_scale"):
        if required(image, key) != required(text, key):
            raise BadModelConfig(f"{name}: the towers disagree on {key}")
    one_of(image, "crop", "center")
    if not re.fullmatch(r"[0-9a-f]{64}", required(image, "fingerprint")):
        raise BadModelConfig(f"{name}: fingerprint is not 64 hex digits")
    bias = image.parameters.get("logit_bias")
    dim = positive_int(image, "embed_dim", LARGEST_DIM)
    preprocess, tokenizer = preprocess_of(image), tokenizer_of(text)
    fixed = one_of(text, "text_length", "ragged", "masked", "fixed") == "fixed"
    check_shapes(image, "image_height", (preprocess.height, preprocess.width, 3), dim)
    check_shapes(text, "text_length", (tokenizer.context_length if fixed else -1,), dim)
    return ModelSpec(
        name=name,
        fingerprint=required(image, "fingerprint"),
        embed_dim=dim,
        preprocess=preprocess,
        tokenizer=tokenizer,
        fixed_text_length=fixed,
        logit_scale=finite_number(image, "logit_scale"),
        logit_bias=None if bias is None else finite_number(image, "logit_bias"),
        architecture=required(image, "architecture"),
        pretrained=image.parameters.get("pretrained", ""),
        precision=required(image, "precision"),
        max_image_batch=max(1, image.max_batch_size),
        max_text_batch=max(1, text.max_batch_size),
        canary=canary_of(image, dim, tokenizer),
        version=image.version,
        license=image.parameters.get("license", ""),
        device=image.device,
        matryoshka_dims=matryoshka_dims_of(image, dim),
    )


def pair_towers(
    loaded: LoadedVersions, towers: Mapping[str, TowerConfig]
) -> dict[str, ModelSpec | BadModelConfig | None]:
    """Every model of which Triton lists a tower: its specification, or the error in its configuration.

    None if a tower is missing or not loaded, or the towers have different versions.
    """
    models: dict[str, ModelSpec | BadModelConfig | None] = {}
    for name in sorted({model_name(tower) for tower in loaded if is_tower(tower)}):
        image, text = towers.get(name + IMAGE_SUFFIX), towers.get(name + TEXT_SUFFIX)
        if image is None or text is None or image.version != text.version:
            models[name] = None
            continue
        try:
            spec = parse_model(image, text)
            ready = all(spec.version in loaded.get(tower.triton_name, ()) for tower in (image, text))
            models[name] = spec if ready else None
        except BadModelConfig as error:
            models[name] = error
    return models


def matryoshka_dims_of(tower: TowerConfig, dim: int) -> tuple[int, ...]:
    """The numbers of dimensions that the export declares, separated by blanks; empty if it declares none.

    Raises BadModelConfig unless they ascend from 1 and stay below `dim`.
    """
    words = tower.parameters.get("matryoshka_dims", "").split()
    dims = tuple(int(word) for word in words if re.fullmatch(r"[0-9]{1,5}", word))
    if len(dims) < len(words) or not all(low < high for low, high in itertools.pairwise((0, *dims, dim))):
        raise BadModelConfig(
            f"{tower.triton_name}: parameter matryoshka_dims is not ascending numbers from 1 to {dim - 1}"
        )
    return dims


def canary_of(tower: TowerConfig, dim: int, tokenizer: TokenizerSpec) -> Canary | None:
    """The inputs and embeddings that the export recorded; None if it recorded none."""
    if "canary_text" not in tower.parameters:
        return None
    return Canary(
        image=from_base64(tower, "canary_image_png"),
        image_embedding=embedding_of(tower, "canary_image_embedding", dim),
        text=required(tower, "canary_text"),
        text_embedding=embedding_of(tower, "canary_text_embedding", dim),
        text_ids=() if tokenizer.kind == "openai_bpe" else ids_of(tower, "canary_text_ids", tokenizer),
    )
