"""Finds and loads open_clip's HFTokenizer of a model. Errors say where its files can come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipserve_exporter import sentencepiece_shim, torchvision_shim
from clipserve_exporter.errors import ExportError
from clipserve_exporter.sources.fit import first_line
from clipserve_exporter.sources.folder_tokenizer import OWN
from clipserve_exporter.sources.weights_file import LFS_POINTER

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
"""Files by which a folder is known to hold a tokenizer."""
CLEAN_RULES = ("lower", "whitespace", "canonicalize")
MAX_FILE = 128 << 20
"""Bytes. The largest known files have 60 MB."""


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer of Hugging Face.

    Attributes:
        place: the folder or name it came from.
        wrapper: open_clip's HFTokenizer around it.
        clean: the name of the rule by which texts are cleaned.
        language: the source language that the configuration names; empty if it names none.
    """

    place: str | Path
    wrapper: Any
    clean: str
    language: str = ""


def place_of(text_cfg: Mapping[str, Any], model_folder: Path | None, given: Path | None) -> str | Path:
    """Returns the folder or the hub's name of a model's tokenizer. Raises ExportError.

    Args:
        model_folder: the folder of a `local-dir:` model; its tokenizer comes first, as in open_clip.
        given: the folder that the user named.
    """
    if given is not None:
        if not holds_tokenizer(given):
            raise ExportError(no_tokenizer(given))
        return given
    if model_folder is not None and holds_tokenizer(model_folder):
        return model_folder
    name = str(text_cfg["hf_tokenizer_name"])
    if model_folder is not None and name == OWN:
        raise ExportError(no_tokenizer(model_folder))
    if not Path(name).is_dir():
        return name
    if not holds_tokenizer(Path(name)):
        raise ExportError(no_tokenizer(Path(name)))
    return Path(name)


def no_tokenizer(folder: Path) -> str:
    """The message about a folder without a tokenizer."""
    return (
        f"the folder {folder} has no tokenizer: it needs tokenizer_config.json with tokenizer.json, "
        "vocab.txt or a sentencepiece .model file; pass --tokenizer FOLDER if they are elsewhere"
    )


def holds_tokenizer(folder: Path) -> bool:
    """Whether a folder has files of a tokenizer."""
    return any((folder / name).is_file() for name in FILES)


def require_supported(text_cfg: Mapping[str, Any]) -> None:
    """Raises ExportError if the configuration asks for what the gateway does not do."""
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    mode = text_cfg.get("tokenizer_mode") or options.get("tokenizer_mode")
    if mode:
        raise ExportError(
            f"the model's tokenizer has tokenizer_mode {mode!r}, which puts a token after the padding of "
            "each text; this is not supported"
        )
    clean = options.get("clean", "whitespace")
    if clean not in CLEAN_RULES:
        raise ExportError(
            f"the model's tokenizer has clean {clean!r}; supported are {', '.join(CLEAN_RULES)}"
        )


def load(text_cfg: Mapping[str, Any], place: str | Path) -> LoadedTokenizer:
    """Loads a tokenizer from a folder, or by a name that the hub or its cache knows. Raises ExportError."""
    require_supported(text_cfg)
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    clean = options.setdefault("clean", "whitespace")
    torchvision_shim.make_importable()
    sentencepiece_shim.make_importable()
    from open_clip.tokenizer import HFTokenizer

    if isinstance(place, Path):
        check_files(place)
    try:
        return LoadedTokenizer(
            place, HFTokenizer(str(place), **options), clean, options.get("language") or ""
        )
    except (KeyboardInterrupt, SystemExit):
        raise
    # Damaged files raise many kinds of errors; panics of `tokenizers` are no Exception.
    except BaseException as error:
        if isinstance(place, Path):
            raise ExportError(f"the tokenizer in {place} cannot be read: {first_line(error)}") from error
        raise ExportError(
            f"the tokenizer {place} could not be downloaded or read ({first_line(error)}); if this machine "
            "cannot reach a model hub, download its files elsewhere and pass --tokenizer FOLDER"
        ) from error


def check_files(folder: Path) -> None:
    """Raises ExportError if a file of a tokenizer is huge, a pointer, or a cut sentencepiece model."""
    for path in sorted(folder.iterdir()):
        if path.name not in FILES or not path.is_file():
            continue
        size = path.stat().st_size
        if size > MAX_FILE:
            raise ExportError(
                f"{path} is too large for a tokenizer: {size:,} bytes, at most {MAX_FILE:,} are read"
            )
        with path.open("rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise ExportError(f"{path} is a Git LFS pointer; download the file itself (git lfs pull)")
        if path.suffix == ".model":
            sentencepiece_of(path)


def sentencepiece_of(path: Path) -> Any:
    """Loads a sentencepiece model. Raises ExportError if it is damaged."""
    import sentencepiece

    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise ExportError(f"{path} is cut or damaged: {first_line(error)}") from error
