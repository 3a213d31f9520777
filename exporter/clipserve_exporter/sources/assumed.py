"""The preprocessing of weights that do not bring one: a plain file, without tag and without folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from open_clip.transform import PreprocessCfg

from clipserve_exporter.errors import ExportError
from clipserve_exporter.preprocessing import Preprocess

KEYS = ("resize_mode", "interpolation", "mean", "std")
MODES = {
    "shortest": "short side resized and center cropped",
    "longest": "long side resized and padded",
    "squash": "both sides resized",
}
MAX_TAGS = 4
"""Most tags that a message names for one preprocessing."""


def require_one_preprocessing(file: Path, name: str, tags: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ExportError if the weights of an architecture are known to need different preprocessings.

    `tags` are the published weights with their configurations. One that differs from open_clip's default
    shows that the default cannot be assumed.
    """
    groups: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    groups[values({})] = []
    for tag, config in tags.items():
        groups[values(config)].append(tag)
    if len(groups) == 1:
        return
    known = "; ".join(f"{shown(tags)}: {described(*key)}" for key, tags in groups.items() if tags)
    raise ExportError(
        f"{file.name} does not tell the preprocessing of its images, and weights of {name} need other ones "
        f"than open_clip's default ({known}). Pass --pretrained TAG={file} with the tag whose preprocessing "
        "fits, or --model local-dir:FOLDER with a preprocess_cfg in its open_clip_config.json"
    )


def values(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns the settings of KEYS, where `config` has none open_clip's defaults."""
    usual = asdict(PreprocessCfg())
    chosen = (usual[key] if config.get(key) is None else config[key] for key in KEYS)
    return tuple(tuple(value) if isinstance(value, (list, tuple)) else value for value in chosen)


def shown(tags: list[str]) -> str:
    """Lists tags, not too many."""
    return ", ".join(tags[:MAX_TAGS]) + (", …" if len(tags) > MAX_TAGS else "")


def described(mode: str, interpolation: str, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """Describes a preprocessing without its size."""
    return f"{MODES.get(mode, mode)}, {interpolation}, mean {numbers(mean)}, std {numbers(std)}"


def numbers(values: tuple[float, ...]) -> str:
    """Writes the numbers of the channels; one if they are equal."""
    return " ".join(f"{value:.4g}" for value in (values[:1] if len(set(values)) == 1 else values))


def assumption(file: Path, preprocess: Preprocess) -> str:
    """Tells which preprocessing is assumed."""
    what = described(preprocess.resize, preprocess.interpolation, preprocess.mean, preprocess.std)
    return (
        f"{file.name} does not tell the preprocessing of its images; assumed is {preprocess.width} × "
        f"{preprocess.height} pixels, {what}"
    )
