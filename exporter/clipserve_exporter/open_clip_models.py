"""Loads open_clip models by name and weights. Errors explain the cause in one sentence."""

from __future__ import annotations

import contextlib
import difflib
import pickle
import warnings as python_warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipserve_exporter.errors import ExportError
from clipserve_exporter.preprocessing import preprocess_of
from clipserve_exporter.sources.activation import (
    CHOICES,
    WORDS,
    agreed,
    is_quick,
    require_choice,
    sibling,
    unknown_activation,
)
from clipserve_exporter.sources.fit import first_line, interpolated, misfit, require_numbers
from clipserve_exporter.sources.shards import INDEX_SUFFIX
from clipserve_exporter.sources.weights_file import is_torchscript, read_weights
from clipserve_exporter.sources.wrappings import NOT_WEIGHTS
from clipserve_exporter.text_tower import VOCABULARY
from clipserve_exporter.torchvision_shim import make_importable

make_importable()

import open_clip  # noqa: E402  (needs torchvision to be importable)
from open_clip import factory  # noqa: E402
from open_clip import pretrained as tags  # noqa: E402

from clipserve_exporter.sources.assumed import assumption, require_one_preprocessing  # noqa: E402

FIND_CHECKPOINT = factory._find_checkpoint_in_dir


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
    schema, identifier = factory.parse_model_name(name)
    require_openai_tokenizer(name, config_of(name).get("text_cfg", {}))
    torch.manual_seed(seed)
    if schema is not None:
        return load_folder(name, schema, identifier, activation)
    tag, file = tag_and_file(name, pretrained)
    config = dict(config_of(name))
    tag_config = dict(tags.get_pretrained_cfg(name, tag)) if tag else {}
    archive = file is not None and not tag and is_torchscript(file)
    notes, warnings = [], []
    quick = is_quick(config)
    if tag:
        quick = agreed(activation, is_quick(tag_config), f"the tag {tag}")
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
    model, told = created(name, str(file or tag), tag_config, required=bool(pretrained), quick_gelu=quick)
    if file is not None and not tag:
        notes.append(assumption(file, preprocess_of(model)))
    return Loaded(
        model, architecture, config, tag or (file.name if file else ""), (*notes,), (*warnings, *told)
    )


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


def checkpoint_in(folder: Path) -> Path | None:
    """Returns the file of weights in a folder: an index of several files, or open_clip's choice."""
    found = FIND_CHECKPOINT(folder)
    indexes = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    if indexes and (found is None or "-of-" in Path(found).name):
        return indexes[0]
    return Path(found) if found else None


def published(name: str) -> dict[str, Mapping[str, Any]]:
    """Returns the weights that open_clip knows for an architecture, with either activation."""
    return {
        tag: tags.get_pretrained_cfg(known, tag)
        for known in (sibling(name, False), sibling(name, True))
        for tag in tags.list_pretrained_tags_by_model(known)
    }


def served() -> dict[str, list[str]]:
    """Returns architectures with OpenAI's tokenizer → tags of weights that fit them and the gateway."""
    architectures = {}
    for name in open_clip.list_models():
        config = config_of(name)
        if other_tokenizer(name, config["text_cfg"]):
            continue
        known = {tag: tags.get_pretrained_cfg(name, tag) for tag in tags.list_pretrained_tags_by_model(name)}
        architectures[name] = [tag for tag, of_tag in known.items() if is_quick(of_tag) == is_quick(config)]
    return architectures


def config_of(name: str) -> Mapping[str, Any]:
    """Returns open_clip's configuration of an architecture. Raises ExportError if there is none."""
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


GIVE_FILES = (
    "if this machine cannot reach a model hub, download the files elsewhere and pass --pretrained FILE, "
    "or --model local-dir:FOLDER for a folder with open_clip_config.json and weights"
)


def created(
    name: str,
    pretrained: str,
    preprocess: Mapping[str, Any] | None = None,
    required: bool = False,
    **changes: Any,
) -> tuple[nn.Module, list[str]]:
    """Creates a model with open_clip; `changes` replace entries of its configuration.

    Returns it with sentences on what open_clip changed in the weights. Raises ExportError if that fails.
    """
    what = Path(pretrained).name if pretrained else name
    try:
        with files_read_by_content() as read, python_warnings.catch_warnings():
            # Of an activation other than the tag's, which `changes` puts right.
            python_warnings.simplefilter("ignore")
            model = open_clip.create_model(
                name,
                pretrained=pretrained or None,
                force_preprocess_cfg=dict(preprocess or {}),
                require_pretrained=required,
                **changes,
            )
    except ERRORS as error:
        if Path(pretrained).is_file() or name.startswith(factory.LOCAL_DIR_PREFIX):
            raise ExportError(
                f"the weights of {pretrained or name} do not fit {name}: {misfit(error)}"
            ) from error
        where = tags.get_pretrained_cfg(name, pretrained).get("hf_hub", "").strip("/")
        raise ExportError(
            f"the weights {pretrained or name}{f' ({where})' if where else ''} could not be downloaded; "
            f"{GIVE_FILES}"
        ) from error
    require_numbers(model, read, what)
    return model, interpolated(model, read, what)


ERRORS = (
    *(RuntimeError, OSError, ValueError, KeyError, pickle.UnpicklingError),
    *(AssertionError, AttributeError, IndexError, TypeError),
)
"""What open_clip raises for weights that cannot be had or do not fit."""


@contextlib.contextmanager
def files_read_by_content() -> Iterator[dict[str, Tensor]]:
    """Makes open_clip read weights by their content: by itself it goes by suffixes, and knows few formats.

    Yields a dictionary that receives the names of the weights with their shapes and types, without data.
    """
    read: dict[str, Tensor] = {}

    def load_state_dict(path: str, device: str = "cpu", weights_only: bool = True) -> dict[str, Tensor]:
        state = archive_weights(Path(path)) if is_torchscript(Path(path)) else read_weights(path)
        if any(name.startswith(("vision_model.", "text_model.")) for name in state):
            raise ExportError(
                f"the weights of {path} have the names of Hugging Face's transformers; pass their folder "
                "with config.json and preprocessor_config.json: --model FOLDER"
            )
        read.update({name: value.to("meta") for name, value in state.items()})
        return state

    loading = factory.load_state_dict
    factory.load_state_dict = load_state_dict
    factory._find_checkpoint_in_dir = lambda folder: str(found) if (found := checkpoint_in(folder)) else None
    try:
        yield read
    finally:
        factory.load_state_dict, factory._find_checkpoint_in_dir = loading, FIND_CHECKPOINT


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


def other_tokenizer(name: str, text: Mapping[str, Any]) -> str:
    """Describes the tokenizer of an architecture; empty if it is OpenAI's."""
    if text.get("hf_tokenizer_name") or text.get("hf_model_name"):
        return str(text.get("hf_tokenizer_name") or text["hf_model_name"])
    if ":" not in name and "siglip" in name.lower():
        return "SigLIP's"
    if text.get("tokenizer_kwargs"):
        return f"OpenAI's with options {text['tokenizer_kwargs']}"
    size = text.get("vocab_size", VOCABULARY)
    return "" if size == VOCABULARY else f"one of {size:,} tokens"


def require_openai_tokenizer(name: str, text: Mapping[str, Any]) -> None:
    """Raises ExportError if the architecture does not use OpenAI's tokenizer, the only one served."""
    other = other_tokenizer(name, text)
    if other:
        raise ExportError(
            f"{name} uses another tokenizer ({other}); only OpenAI's tokenizer with {VOCABULARY:,} tokens is "
            "supported"
        )


def archive_weights(path: Path) -> dict[str, Tensor]:
    """Reads the weights of a CLIP model from a TorchScript archive. Raises ExportError if it has none."""
    try:
        state = torch.jit.load(path, map_location="cpu").state_dict()
    except Exception as error:  # torch raises many kinds of errors for a damaged archive.
        raise ExportError(f"{path} is a damaged TorchScript archive: {first_line(error)}") from error
    if "logit_scale" not in state:
        raise ExportError(
            f"{path} is a TorchScript archive of another model: it has no CLIP weights (no logit_scale)"
        )
    return {name: value.float() for name, value in state.items() if name not in NOT_WEIGHTS}
