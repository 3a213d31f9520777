"""Loads open_clip models by name and weights. Errors explain the cause in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipserve_exporter.errors import ExportError
from clipserve_exporter.preprocessing import preprocess_of
from clipserve_exporter.sources.activation import (
    CHOICES,
    WORDS,
    agreed,
    is_quick,
    of_tag,
    require_choice,
    sibling,
    unknown_activation,
)
from clipserve_exporter.sources.creation import GIVE_FILES, checkpoint_in, created
from clipserve_exporter.sources.fit import first_line
from clipserve_exporter.sources.licenses import UNKNOWN, License, of_folder, of_hub
from clipserve_exporter.sources.transformers_folder import (
    CONFIG,
    OPEN_CLIP_CONFIG,
    is_transformers_folder,
    load_transformers,
    transformers_class,
)
from clipserve_exporter.sources.weights_file import is_torchscript
from clipserve_exporter.torchvision_shim import make_importable

make_importable()

import open_clip  # noqa: E402  (needs torchvision to be importable)
from open_clip import factory  # noqa: E402
from open_clip import pretrained as tags  # noqa: E402

from clipserve_exporter.sources.assumed import assumption, require_one_preprocessing  # noqa: E402


@dataclass(frozen=True)
class Loaded:
    """A model with what is known of its weights."""

    model: nn.Module
    architecture: str
    config: Mapping[str, Any]
    """open_clip's model configuration."""
    pretrained: str
    """The tag or file name that the weights came from; empty for random weights."""
    notes: tuple[str, ...] = ()
    """What was chosen or assumed; each a sentence without its full stop."""
    warnings: tuple[str, ...] = ()
    """What the user should check; each a sentence or more without the last full stop."""


def load(name: str, pretrained: str, seed: int, activation: str = "") -> Loaded:
    """Loads an architecture of open_clip, or a model of a hub or of a folder.

    `pretrained` is a tag, a file, or TAG=FILE for a file with the weights of a tag. `activation` is
    `quickgelu`, `gelu` or empty. Raises ExportError.
    """
    folder = transformers_folder(name)
    if folder is not None:
        return load_transformers_folder(folder, pretrained, activation)
    name = with_schema(name)
    schema, identifier = factory.parse_model_name(name)
    torch.manual_seed(seed)
    if schema is not None:
        if pretrained:
            raise ExportError(f"{name} brings its own weights; omit --pretrained")
        return load_folder(name, schema, identifier, activation)
    tag, file = tag_and_file(name, pretrained)
    config = dict(config_of(name))
    tag_cfg = tag_config(name, tag)
    archive = file is not None and not tag and is_torchscript(file)
    notes, warnings = [], []
    quick = is_quick(config)
    if tag:
        quick = of_tag(name, config, tag_cfg, open_clip.list_models())
        quick = agreed(activation, quick, f"the tag {tag}")
    elif archive:
        # OpenAI trained all weights that it published as archives with QuickGELU.
        quick = agreed(activation, True, "an archive of OpenAI")
    elif activation:
        require_choice(name, config)
        quick = CHOICES[activation]
    elif file is not None and sibling(name, not quick) in open_clip.list_models():
        warnings.append(unknown_activation(file, name, quick))
    architecture = name
    if quick != is_quick(config):
        named = sibling(name, quick)
        architecture = named if named in open_clip.list_models() else name
        config["quick_gelu"] = quick
        notes.append(f"{WORDS[quick]}, which {f'--activation {activation}' if activation else tag or file}"
                     f" requires: open_clip's {architecture}")  # fmt: skip
    if file is not None and not tag and not archive:
        require_one_preprocessing(file, name, published(name))
    model, told = created(name, str(file or tag), tag_cfg, required=bool(pretrained), quick_gelu=quick)
    if file is not None and not tag:
        notes.append(assumption(file, preprocess_of(model)))
    return Loaded(
        model, architecture, config, tag or (file.name if file else ""), (*notes,), (*warnings, *told)
    )


def known_license(name: str, pretrained: str) -> License | None:
    """Returns the license of weights, as far as it is known without them; None for random weights."""
    schema, identifier = factory.parse_model_name(with_schema(name))
    if schema == "hf-hub":
        return of_hub(identifier)
    if schema == "local-dir":
        return of_folder(Path(identifier))
    config_of(name)
    tag, file = tag_and_file(name, pretrained)
    if not tag:
        return None if file is None else UNKNOWN
    return of_hub(tag_config(name, tag).get("hf_hub", ""))


def with_schema(name: str) -> str:
    """Returns `local-dir:` and a folder's path in place of the path alone; other names as they are."""
    if ":" in name or name in open_clip.list_models() or not Path(name).is_dir():
        return name
    return f"{factory.LOCAL_DIR_PREFIX}{name}"


def transformers_folder(name: str) -> Path | None:
    """Returns the folder of a model in the form of transformers; None for every other name."""
    path = with_schema(name).removeprefix(factory.LOCAL_DIR_PREFIX)
    folder = Path(path) if path != with_schema(name) else None
    return folder if folder is not None and is_transformers_folder(folder) else None


def load_transformers_folder(folder: Path, pretrained: str, activation: str) -> Loaded:
    """Loads a model of transformers as open_clip's."""
    if pretrained:
        raise ExportError(f"{folder} holds its own weights; omit --pretrained")
    model, config, weights = load_transformers(folder)
    agreed(activation, is_quick(config), f"{folder / 'config.json'}")
    note = f"{transformers_class(folder)} of transformers, mapped to open_clip's modules"
    return Loaded(model, folder.resolve().name, config, weights, (note,))


def load_folder(name: str, schema: str, identifier: str, activation: str) -> Loaded:
    """Loads a model with an open_clip_config.json, from a hub or a folder."""
    config = config_of(name)
    agreed(activation, is_quick(config), f"the configuration of {name}")
    if schema == "hf-hub":
        model, told = created(name, "", required=True)
        return Loaded(model, identifier, config, identifier, warnings=(*told,))
    folder = Path(identifier)
    checkpoint = checkpoint_in(folder)
    model, told = created(name, "", required=checkpoint is not None)
    weights = checkpoint.name if checkpoint else ""
    return Loaded(model, folder.resolve().name, config, weights, warnings=(*told,))


def published(name: str) -> dict[str, Mapping[str, Any]]:
    """Returns the weights that open_clip knows for an architecture, with either activation."""
    return {
        tag: tags.get_pretrained_cfg(known, tag)
        for known in (sibling(name, False), sibling(name, True))
        for tag in tags.list_pretrained_tags_by_model(known)
    }


def tag_config(name: str, tag: str) -> dict[str, Any]:
    """Returns open_clip's configuration of published weights; empty if there is no such tag."""
    return dict(tags.get_pretrained_cfg(name, tag)) if tag else {}


def folder_of(name: str) -> Path | None:
    """Returns the folder that a model is in; None if it is not in one."""
    schema, path = factory.parse_model_name(with_schema(name))
    return Path(path) if schema == "local-dir" else None


def config_of(name: str) -> Mapping[str, Any]:
    """Returns open_clip's configuration of an architecture. Raises ExportError if there is none."""
    require_name_or_model(name)
    try:
        config = open_clip.get_model_config(name)
    except OSError as error:
        if name.startswith(factory.LOCAL_DIR_PREFIX):
            raise ExportError(f"{name} cannot be read: {first_line(error)}") from error
        raise ExportError(f"{name} could not be downloaded; {GIVE_FILES}") from error
    except ValueError as error:
        raise ExportError(f"{name} has no readable open_clip_config.json: {first_line(error)}") from error
    if config is None:
        close = difflib.get_close_matches(name, open_clip.list_models(), n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ExportError(f"open_clip knows no architecture {name!r}{hint}")
    return config


def require_name_or_model(name: str) -> None:
    """Raises ExportError for a file of weights, and for a folder that is none of a model."""
    folder = Path(name.removeprefix(factory.LOCAL_DIR_PREFIX))
    if Path(name).is_file():
        raise ExportError(
            f"--model {name} is a file; name the architecture of its weights, such as --model ViT-B-32 "
            f"--pretrained {name}, or pass the folder of a model with its configuration"
        )
    if not name.startswith(factory.LOCAL_DIR_PREFIX) or (folder / OPEN_CLIP_CONFIG).is_file():
        return
    if not folder.is_dir():
        raise ExportError(f"there is no folder {folder}")
    raise ExportError(
        f"the folder {folder} has no configuration of a model: neither {OPEN_CLIP_CONFIG}, as open_clip "
        f"writes it, nor {CONFIG}, as transformers does. If it holds only weights, pass --model ARCHITECTURE "
        "--pretrained FILE"
    )


def tag_and_file(name: str, pretrained: str) -> tuple[str, Path | None]:
    """Returns the tag and the file that `pretrained` names. Raises ExportError if it names neither."""
    known = tags.list_pretrained_tags_by_model(name)
    if not pretrained or pretrained in known:
        return pretrained, None
    tag, _, file = pretrained.partition("=")
    if tag not in known:
        tag, file = "", pretrained
    if Path(file).is_file():
        return tag, Path(file)
    close = difflib.get_close_matches(pretrained, known, n=3, cutoff=0.3) or known[:3]
    hint = f" ({', '.join(close)}, …; --list shows all)" if close else ""
    raise ExportError(f"{pretrained!r} is neither a file nor a tag of {name}'s weights{hint}")
