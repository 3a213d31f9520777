"""Loads open_clip models by name and weights. Errors explain the cause in one sentence."""

from __future__ import annotations

import contextlib
import difflib
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipserve_exporter.errors import ExportError
from clipserve_exporter.text_tower import VOCABULARY
from clipserve_exporter.torchvision_shim import make_importable
from clipserve_exporter.weights_file import NOT_WEIGHTS, is_torchscript, read_weights

make_importable()

import open_clip  # noqa: E402  (needs torchvision to be importable)
from open_clip import factory  # noqa: E402
from open_clip import pretrained as tags  # noqa: E402

QUICK = "-quickgelu"


def load(name: str, pretrained: str, seed: int) -> tuple[nn.Module, str, str]:
    """Returns the model, the architecture's name, and the source of its weights (empty if they are random).

    `pretrained` is a tag, a file, or TAG=FILE for a file with the weights of a tag. Raises ExportError.
    """
    schema, identifier = factory.parse_model_name(name)
    require_openai_tokenizer(name, config_of(name).get("text_cfg", {}))
    torch.manual_seed(seed)
    if schema == "hf-hub":
        return created(name, pretrained, required=True), identifier, identifier
    if schema == "local-dir":
        folder = Path(identifier)
        checkpoint = factory._find_checkpoint_in_dir(folder)
        model = created(name, pretrained, required=checkpoint is not None)
        return model, folder.resolve().name, Path(checkpoint).name if checkpoint else ""
    tag, file = tag_and_file(name, pretrained)
    archive = file if file is not None and is_torchscript(file) else None
    state = archive_weights(archive) if archive else {}
    require_activation(name, tag, archive is not None)
    preprocess = dict(tags.get_pretrained_cfg(name, tag)) if tag else {}
    if archive:
        model = created(name, "", preprocess)
        take_over(model, state, archive)
    else:
        model = created(name, str(file or tag), preprocess, required=bool(pretrained))
    return model, name, tag or (file.name if file else "")


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


def is_quick(config: Mapping[str, Any]) -> bool:
    """Whether the configuration of an architecture or of weights requires QuickGELU."""
    return bool(config.get("quick_gelu", False))


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
    name: str, pretrained: str, preprocess: Mapping[str, Any] | None = None, required: bool = False
) -> nn.Module:
    """Creates a model with open_clip. Raises ExportError if that fails."""
    try:
        with files_read_by_content():
            return open_clip.create_model(
                name,
                pretrained=pretrained or None,
                force_preprocess_cfg=dict(preprocess or {}),
                require_pretrained=required,
            )
    except (RuntimeError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        if Path(pretrained).is_file() or name.startswith(factory.LOCAL_DIR_PREFIX):
            raise ExportError(
                f"the weights of {pretrained or name} do not fit {name}: {first_line(error)}"
            ) from error
        where = tags.get_pretrained_cfg(name, pretrained).get("hf_hub", "").strip("/")
        raise ExportError(
            f"the weights {pretrained or name}{f' ({where})' if where else ''} could not be downloaded; "
            f"{GIVE_FILES}"
        ) from error


@contextlib.contextmanager
def files_read_by_content() -> Iterator[None]:
    """Makes open_clip read weights by read_weights: by itself it goes by suffixes, and knows few formats."""
    read = factory.load_state_dict
    factory.load_state_dict = lambda path, device="cpu", weights_only=True: read_weights(path)
    try:
        yield
    finally:
        factory.load_state_dict = read


def activation_warning(name: str, pretrained: str) -> str:
    """Returns a warning if a file does not tell which kind of GELU its weights have; otherwise empty."""
    if ":" in name or not pretrained:
        return ""
    tag, file = tag_and_file(name, pretrained)
    quick = is_quick(config_of(name))
    other = name.removesuffix(QUICK) + ("" if quick else QUICK)
    if tag or file is None or is_torchscript(file) or other not in open_clip.list_models():
        return ""
    kinds = ("QuickGELU", "GELU") if quick else ("GELU", "QuickGELU")
    return (
        f"{file.name} does not tell which activation its weights were trained with. {name} has {kinds[0]}. "
        f"If they were trained with {kinds[1]}, every embedding is wrong: use --model {other}. "
        "The weights of OpenAI, MetaCLIP and DFN have QuickGELU; most weights of LAION have GELU. "
        "Pass --pretrained TAG=FILE to name the weights; then the exporter checks this"
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


def require_activation(name: str, tag: str, archive: bool) -> None:
    """Raises ExportError if the weights were trained with the other kind of GELU."""
    config = tags.get_pretrained_cfg(name, tag) if tag else {}
    # OpenAI trained all weights that it published as archives with QuickGELU; a tag says more.
    archive = archive and not tag
    if not config and not archive:
        return
    quick = archive or is_quick(config)
    if quick != is_quick(config_of(name)):
        other = name.removesuffix(QUICK) + (QUICK if quick else "")
        raise ExportError(f"these weights were trained with another activation; use --model {other}")


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


def take_over(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Loads weights into a model. Raises ExportError if they belong to another architecture."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ExportError(f"the weights of {path} do not fit: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Returns the first useful line of an error's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # PyTorch lists mismatches below a line that only says that there are some.
    useful = lines[1:2] if lines and lines[0].startswith("Error(s) in loading") else lines[:1]
    return (useful[0] if useful else type(error).__name__)[:300]
