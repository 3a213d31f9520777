"""Reads the specification of a model from the parameters of its two Triton configurations."""

from __future__ import annotations

import base64
import binascii
import functools
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from clipserve_gateway.types import Canary, ModelSpec, Tower

SCHEMA = "1"
IMAGE_SUFFIX, TEXT_SUFFIX = "_image", "_text"
TOWERS: tuple[Tower, ...] = ("image", "text")
TOKENIZER = "openai_bpe"
VERSION = "model_version"
"""The parameter with the version that a configuration describes."""
FIRST_FORM = "1"
"""The version of exports without that parameter."""
PARSED = 256
"""Size of the cache of specifications: each refresh parses the same ones."""
HIGHEST_VERSION = 2**63 - 1

LoadedVersions: TypeAlias = Mapping[str, Collection[str]]
"""Triton model → its versions that are ready; empty if it is not ready."""


class BadModelConfig(ValueError):
    """A Triton model that is named like a tower and cannot be used as one."""


@dataclass(frozen=True)
class TowerConfig:
    """The configuration of one Triton model.

    Attributes:
        instances: how many run at the same time.
        share_cores: all instances share the cores; else each has its own device or threads.
        bulk_batch: rows of a call of bulk work while there is interactive work; 0 for no limit.
    """

    triton_name: str
    max_batch_size: int
    parameters: Mapping[str, str] = field(hash=False)
    instances: int = 1
    share_cores: bool = False
    bulk_batch: int = 0

    @property
    def version(self) -> str:
        """The version that the parameters describe."""
        return self.parameters.get(VERSION, FIRST_FORM)

    @property
    def calls(self) -> int:
        """Calls that do not slow each other."""
        return 1 if self.share_cores else self.instances


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
        expect(tower, "schema", SCHEMA)
        expect(tower, "tower", role)
        expect(tower, "model", name)
        if not (tower.version.isdecimal() and 0 < int(tower.version) <= HIGHEST_VERSION):
            raise BadModelConfig(f"{tower.triton_name}: parameter {VERSION} is not a positive int64")
    for key in ("fingerprint", "embed_dim", "image_size", "context_length", "logit_scale"):
        if required(image, key) != required(text, key):
            raise BadModelConfig(f"{name}: the towers disagree on {key}")
    expect(text, "tokenizer", TOKENIZER)
    expect(image, "resize", "shortest")
    expect(image, "interpolation", "bicubic")
    expect(image, "crop", "center")
    if not re.fullmatch(r"[0-9a-f]{64}", required(image, "fingerprint")):
        raise BadModelConfig(f"{name}: fingerprint is not 64 hex digits")
    if required(text, "text_length") not in ("ragged", "fixed"):
        raise BadModelConfig(f"{name}: text_length is neither ragged nor fixed")
    bias = image.parameters.get("logit_bias")
    return ModelSpec(
        name=name,
        fingerprint=required(image, "fingerprint"),
        embed_dim=positive_int(image, "embed_dim"),
        image_size=positive_int(image, "image_size"),
        context_length=positive_int(text, "context_length"),
        fixed_text_length=required(text, "text_length") == "fixed",
        logit_scale=finite_number(image, "logit_scale"),
        logit_bias=None if bias is None else finite_number(image, "logit_bias"),
        architecture=required(image, "architecture"),
        pretrained=image.parameters.get("pretrained", ""),
        precision=required(image, "precision"),
        max_image_batch=max(1, image.max_batch_size),
        max_text_batch=max(1, text.max_batch_size),
        canary=canary_of(image, positive_int(image, "embed_dim")),
        version=image.version,
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


def canary_of(tower: TowerConfig, dim: int) -> Canary | None:
    """The inputs and embeddings that the export recorded; None if it recorded none."""
    if "canary_text" not in tower.parameters:
        return None
    return Canary(
        image=from_base64(tower, "canary_image_png"),
        image_embedding=embedding_of(tower, "canary_image_embedding", dim),
        text=required(tower, "canary_text"),
        text_embedding=embedding_of(tower, "canary_text_embedding", dim),
    )


def required(tower: TowerConfig, key: str) -> str:
    """A parameter's value. Raises BadModelConfig if it is missing."""
    try:
        return tower.parameters[key]
    except KeyError:
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is missing") from None


def expect(tower: TowerConfig, key: str, value: str) -> None:
    """Raises BadModelConfig unless the parameter has this value."""
    if required(tower, key) != value:
        raise BadModelConfig(
            f"{tower.triton_name}: parameter {key} is {tower.parameters[key]!r}; this gateway knows {value!r}"
        )


def finite_number(tower: TowerConfig, key: str) -> float:
    """A parameter's value. Raises BadModelConfig if it is not a finite number."""
    try:
        value = float(required(tower, key))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is not a finite number")
    return value


def positive_int(tower: TowerConfig, key: str) -> int:
    """A parameter's value. Raises BadModelConfig if it is not a whole number above 0."""
    value = finite_number(tower, key)
    if value < 1 or value != int(value):
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is not a whole number above 0")
    return int(value)


def from_base64(tower: TowerConfig, key: str) -> bytes:
    """A parameter's value, decoded. Raises BadModelConfig if it is not base64."""
    try:
        return base64.b64decode(required(tower, key), validate=True)
    except binascii.Error as error:
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is not base64") from error


def embedding_of(tower: TowerConfig, key: str, dim: int) -> bytes:
    """An embedding, float32 little-endian [dim]. Raises BadModelConfig if it has another length."""
    embedding = from_base64(tower, key)
    if len(embedding) != 4 * dim:
        size = len(embedding)
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} has {size} bytes, not {4 * dim}")
    return embedding
