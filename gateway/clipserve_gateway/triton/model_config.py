"""Reads a model's specification from the parameters of its two Triton configurations."""

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
"""Parameter with the number of the version that a configuration describes."""
FIRST_FORM = "1"
"""The version of exports that name none."""
PARSED = 256
"""Models whose specifications are kept: every look at Triton finds the same ones."""
HIGHEST_VERSION = 2**63 - 1

LoadedVersions: TypeAlias = Mapping[str, Collection[str]]
"""Triton model → the versions that are ready; none of one that is not."""


class BadModelConfig(ValueError):
    """A Triton model that says it is a clipserve tower but cannot be used as one."""


@dataclass(frozen=True)
class TowerConfig:
    """One Triton model: its name, batch limit, string parameters, how many instances run side by side, and
    whether each has its own device or threads, or all share the cores.

    Attributes:
        bulk_batch: rows of a call of bulk work while there is interactive work; 0 where it needs no bound.
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
        """Calls that do not slow each other down."""
        return 1 if self.share_cores else self.instances


def bulk_batch_of(parameters: Mapping[str, str], most: int, *, free: bool) -> int:
    """Rows of one call of bulk work while there is interactive work, at a tower on a CPU.

    A whole batch where another instance, with cores of its own, stays `free`; else what the exporter's trial
    has measured, or 0 where there was none: what is small for this tower is not known then.
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
    """The model that two towers make up.

    Raises BadModelConfig, naming the parameter, where one is missing or wrong or the towers do not match.
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
        embed_dim=size(image, "embed_dim"),
        image_size=size(image, "image_size"),
        context_length=size(text, "context_length"),
        fixed_text_length=required(text, "text_length") == "fixed",
        logit_scale=decimal(image, "logit_scale"),
        logit_bias=None if bias is None else decimal(image, "logit_bias"),
        architecture=required(image, "architecture"),
        pretrained=image.parameters.get("pretrained", ""),
        precision=required(image, "precision"),
        max_image_batch=max(1, image.max_batch_size),
        max_text_batch=max(1, text.max_batch_size),
        canary=canary_of(image, size(image, "embed_dim")),
        version=image.version,
    )


def pair_towers(
    loaded: LoadedVersions, towers: Mapping[str, TowerConfig]
) -> dict[str, ModelSpec | BadModelConfig | None]:
    """Every model that Triton lists a tower of: what it is, or what is wrong with it.

    None for a model of which `towers` has not both, or of different versions, or of one that is not loaded.
    """
    found: dict[str, ModelSpec | BadModelConfig | None] = {}
    for name in sorted({model_name(tower) for tower in loaded if is_tower(tower)}):
        image, text = towers.get(name + IMAGE_SUFFIX), towers.get(name + TEXT_SUFFIX)
        if image is None or text is None or image.version != text.version:
            found[name] = None
            continue
        try:
            spec = parse_model(image, text)
            ready = all(spec.version in loaded.get(it.triton_name, ()) for it in (image, text))
            found[name] = spec if ready else None
        except BadModelConfig as error:
            found[name] = error
    return found


def canary_of(tower: TowerConfig, dim: int) -> Canary | None:
    """The inputs and embeddings that the export stored; None if it stored none."""
    if "canary_text" not in tower.parameters:
        return None
    return Canary(
        image=binary(tower, "canary_image_png"),
        image_embedding=vector(tower, "canary_image_embedding", dim),
        text=required(tower, "canary_text"),
        text_embedding=vector(tower, "canary_text_embedding", dim),
    )


def required(tower: TowerConfig, key: str) -> str:
    """A parameter's value; BadModelConfig if it is not there."""
    try:
        return tower.parameters[key]
    except KeyError:
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is missing") from None


def expect(tower: TowerConfig, key: str, value: str) -> None:
    """BadModelConfig unless the parameter has this value."""
    if required(tower, key) != value:
        raise BadModelConfig(
            f"{tower.triton_name}: parameter {key} is {tower.parameters[key]!r}; this gateway knows {value!r}"
        )


def decimal(tower: TowerConfig, key: str) -> float:
    """A parameter's value as a finite number; BadModelConfig if it is none."""
    try:
        value = float(required(tower, key))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is not a finite number")
    return value


def size(tower: TowerConfig, key: str) -> int:
    """A parameter's value as a whole number above 0; BadModelConfig if it is none."""
    value = decimal(tower, key)
    if value < 1 or value != int(value):
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is not a whole number above 0")
    return int(value)


def binary(tower: TowerConfig, key: str) -> bytes:
    """A parameter's value, decoded from base64; BadModelConfig if it is none."""
    try:
        return base64.b64decode(required(tower, key), validate=True)
    except binascii.Error as error:
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is not base64") from error


def vector(tower: TowerConfig, key: str, dim: int) -> bytes:
    """An embedding, as float32 little-endian; BadModelConfig if it has another length."""
    found = binary(tower, key)
    if len(found) != 4 * dim:
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} has {len(found)} bytes, not {4 * dim}")
    return found
