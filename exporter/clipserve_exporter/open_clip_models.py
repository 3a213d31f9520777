"""Loads open_clip models by name and weights, and says in a sentence what is wrong where that fails."""

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
from clipserve_exporter.preprocessing import SERVED
from clipserve_exporter.text_tower import VOCABULARY
from clipserve_exporter.torchvision_shim import make_importable
from clipserve_exporter.weights_file import NOT_WEIGHTS, is_torchscript, read_weights

make_importable()

import open_clip  # noqa: E402  (needs torchvision to be importable)
from open_clip import factory  # noqa: E402
from open_clip import pretrained as tags  # noqa: E402

QUICK = "-quickgelu"


def load(name: str, pretrained: str, seed: int) -> tuple[nn.Module, str, str]:
    """The model, the architecture's name, and where its weights came from (empty: they are random).

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
    """Architectures with OpenAI's tokenizer → tags of the weights that fit them and our preprocessing."""
    found = {}
    for name in open_clip.list_models():
        config = config_of(name)
        if other_tokenizer(name, config["text_cfg"]):
            continue
        known = {tag: tags.get_pretrained_cfg(name, tag) for tag in tags.list_pretrained_tags_by_model(name)}
        found[name] = [
            tag
            for tag, of_tag in known.items()
            if of_tag.items() >= SERVED.items() and is_quick(of_tag) == is_quick(config)
        ]
    return found


def is_quick(config: Mapping[str, Any]) -> bool:
    """Whether an architecture, or weights, mean the quick kind of GELU."""
    return bool(config.get("quick_gelu", False))


def config_of(name: str) -> Mapping[str, Any]:
    """open_clip's configuration of an architecture; ExportError if there is none."""
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
    "where no model hub is in reach, download the files elsewhere and give them: --pretrained FILE, "
    "or --model local-dir:FOLDER for a folder with open_clip_config.json and weights"
)


def created(
    name: str, pretrained: str, preprocess: Mapping[str, Any] | None = None, required: bool = False
) -> nn.Module:
    """The model that open_clip makes; ExportError where it does not."""
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
    """Lets open_clip read files of weights as we do: it goes by their suffixes, and knows few wrappings."""
    read = factory.load_state_dict
    factory.load_state_dict = lambda path, device="cpu", weights_only=True: read_weights(path)
    try:
        yield
    finally:
        factory.load_state_dict = read


def activation_warning(name: str, pretrained: str) -> str:
    """What to check where a file does not tell which kind of GELU its weights have; empty elsewhere."""
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
        "OpenAI's, MetaCLIP's and DFN's weights have QuickGELU, most of LAION's GELU. "
        "--pretrained TAG=FILE says which weights they are, and then this is checked"
    )


def tag_and_file(name: str, pretrained: str) -> tuple[str, Path | None]:
    """What `pretrained` names: a tag, a file, both, or nothing; ExportError if it is neither."""
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
    raise ExportError(f"{pretrained!r} is no file and no tag of {name}'s weights{hint}")


def other_tokenizer(name: str, text: Mapping[str, Any]) -> str:
    """The tokenizer of an architecture, in words; empty if it is OpenAI's."""
    if text.get("hf_tokenizer_name") or text.get("hf_model_name"):
        return str(text.get("hf_tokenizer_name") or text["hf_model_name"])
    if ":" not in name and "siglip" in name.lower():
        return "SigLIP's"
    if text.get("tokenizer_kwargs"):
        return f"OpenAI's with options {text['tokenizer_kwargs']}"
    size = text.get("vocab_size", VOCABULARY)
    return "" if size == VOCABULARY else f"one of {size:,} tokens"


def require_openai_tokenizer(name: str, text: Mapping[str, Any]) -> None:
    """ExportError unless the architecture is used with OpenAI's tokenizer, which is the one we serve."""
    other = other_tokenizer(name, text)
    if other:
        raise ExportError(
            f"{name} has another tokenizer ({other}); only OpenAI's, of {VOCABULARY:,} tokens, is served"
        )


def require_activation(name: str, tag: str, archive: bool) -> None:
    """ExportError where the weights were trained with the other kind of GELU: nothing else would tell."""
    config = tags.get_pretrained_cfg(name, tag) if tag else {}
    # All that OpenAI published as archives was trained with the quick one; a tag says more.
    archive = archive and not tag
    if not config and not archive:
        return
    quick = archive or is_quick(config)
    if quick != is_quick(config_of(name)):
        other = name.removesuffix(QUICK) + (QUICK if quick else "")
        raise ExportError(f"these weights were trained with another activation; use --model {other}")


def archive_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a CLIP model in a TorchScript archive; ExportError if it holds none."""
    try:
        state = torch.jit.load(path, map_location="cpu").state_dict()
    except Exception as error:  # Of a damaged archive torch raises whatever its bytes happen to lead to.
        raise ExportError(f"{path} is a damaged TorchScript archive: {first_line(error)}") from error
    if "logit_scale" not in state:
        raise ExportError(
            f"{path} is a TorchScript archive of another model: it holds no CLIP weights (no logit_scale)"
        )
    return {name: value.float() for name, value in state.items() if name not in NOT_WEIGHTS}


def take_over(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Puts weights into a model; ExportError if they are another architecture's."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ExportError(f"the weights of {path} do not fit: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """What an error says, in short."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # PyTorch heads its list of misfits with a line that says nothing but that there are some.
    useful = lines[1:2] if lines and lines[0].startswith("Error(s) in loading") else lines[:1]
    return (useful[0] if useful else type(error).__name__)[:300]
