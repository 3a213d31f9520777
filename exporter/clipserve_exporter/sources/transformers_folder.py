"""Folders of Hugging Face's transformers: CLIPModel, SiglipModel, Siglip2Model and ChineseCLIPModel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from clipserve_exporter.errors import ExportError
from clipserve_exporter.sources.fit import first_line, misfit, require_numbers, require_real
from clipserve_exporter.sources.folder_tokenizer import tokenizer_settings
from clipserve_exporter.sources.image_processor import image_preprocessing
from clipserve_exporter.sources.json_file import read_json
from clipserve_exporter.sources.shards import INDEX_SUFFIX
from clipserve_exporter.sources.weights_file import read_weights

CONFIG = "config.json"
OPEN_CLIP_CONFIG = "open_clip_config.json"
CLASSES = {
    "clip": "CLIPModel",
    "siglip": "SiglipModel",
    "siglip2": "Siglip2Model",
    "chinese_clip": "ChineseCLIPModel",
}
"""model_type in config.json → transformers' class."""
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
Mapped = tuple[nn.Module, dict[str, Any]]


def is_transformers_folder(folder: Path) -> bool:
    """Whether a folder has the form of transformers, and not of open_clip."""
    return (folder / CONFIG).is_file() and not (folder / OPEN_CLIP_CONFIG).is_file()


def model_type_of(folder: Path) -> str:
    """Returns the kind of a folder's model. Raises ExportError if it is not one of CLASSES."""
    config = read_json(folder / CONFIG)
    kind = str(config.get("model_type", ""))
    classes = config.get("architectures") or [CLASSES.get(kind)]
    if config.get("auto_map"):
        raise ExportError(
            f"{folder} needs Python code of its own (auto_map in {CONFIG}), which the exporter does not run"
        )
    if kind not in CLASSES or classes != [CLASSES[kind]]:
        what = ", ".join(map(str, classes)) if classes != [None] else f"model_type {kind!r}"
        raise ExportError(
            f"{folder} holds {what}; supported are {', '.join(CLASSES.values())}, and folders with an "
            f"{OPEN_CLIP_CONFIG}"
        )
    return kind


def transformers_class(folder: Path) -> str:
    """Returns the name of a folder's class in transformers. Raises ExportError if it is not supported."""
    return CLASSES[model_type_of(folder)]


def load_transformers(folder: Path) -> tuple[nn.Module, dict[str, Any], str]:
    """Loads a model as open_clip's. Raises ExportError.

    Returns it, its configuration, and the name of the file of weights.
    """
    kind = model_type_of(folder)
    file = weights_in(folder)
    config = transformers_config(folder)
    state = read_weights(file)
    require_real(state, file.name)
    try:
        model, mapped = mapper(kind)(config, state, file.name)
    except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise ExportError(f"the weights of {file} do not fit its {CONFIG}: {misfit(error)}") from error
    require_numbers(model, state, file.name)
    set_preprocessing(model, image_preprocessing(folder, kind, model.visual.image_size[0]))
    texts = tokenizer_settings(folder, kind, config.text_config.vocab_size)
    return model, mapped | {"text_cfg": mapped["text_cfg"] | texts}, file.name


def weights_in(folder: Path) -> Path:
    """Returns the file of weights of a folder. Raises ExportError if there is none."""
    for name in WEIGHTS:
        for file in (folder / name, folder / f"{name}{INDEX_SUFFIX}"):
            if file.is_file():
                return file
    raise ExportError(f"{folder} has no weights: no {' and no '.join(WEIGHTS)}")


def transformers_config(folder: Path) -> Any:
    """Returns transformers' configuration, which knows the defaults of what config.json leaves out."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds of errors for bad values.
        raise ExportError(f"{folder / CONFIG} cannot be read: {first_line(error)}") from error


def mapper(kind: str) -> Callable[[Any, Any, str], Mapped]:
    """Returns what makes open_clip's model of a kind."""
    if kind == "clip":
        from clipserve_exporter.sources.transformers_clip import clip_model

        return clip_model
    if kind == "chinese_clip":
        from clipserve_exporter.sources.transformers_chinese_clip import chinese_clip_model

        return chinese_clip_model
    from clipserve_exporter.sources.transformers_siglip import siglip_model

    return siglip_model


def set_preprocessing(model: nn.Module, config: dict[str, Any]) -> None:
    """Gives a model its preprocessing in open_clip's form."""
    from open_clip.model import set_model_preprocess_cfg

    set_model_preprocess_cfg(model, config)
