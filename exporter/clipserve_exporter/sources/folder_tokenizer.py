"""Which tokenizer a folder of transformers has, as settings of open_clip's text_cfg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clipserve_exporter.errors import ExportError
from clipserve_exporter.sources.json_file import read_json
from clipserve_exporter.torchvision_shim import make_importable

make_importable()

from open_clip.tokenizer import SimpleTokenizer  # noqa: E402  (needs torchvision to be importable)

OWN = "of the transformers folder"
"""Stands in hf_tokenizer_name for the folder itself, whose path must not be part of the fingerprint."""
SPECIAL = 2
"""OpenAI's last tokens, begin and end, which transformers spells in another way."""
CANONICALIZING = ("SiglipTokenizer",)
"""Classes that remove punctuation and write lower case by themselves; open_clip's rule does both."""
LOWER_CASE = ("siglip", "siglip2")
"""Kinds of models that were trained with texts in lower case."""


def tokenizer_settings(folder: Path, model_type: str, vocabulary: int) -> dict[str, Any]:
    """Returns what text_cfg says of the tokenizer; nothing if it is OpenAI's."""
    if model_type == "clip" and is_openai(folder, vocabulary):
        return {}
    return {"hf_tokenizer_name": OWN, "tokenizer_kwargs": {"clean": cleaning(folder, model_type)}}


def cleaning(folder: Path, model_type: str) -> str:
    """Returns open_clip's rule by which texts are cleaned before they are tokenized."""
    path = folder / "tokenizer_config.json"
    name = str(read_json(path).get("tokenizer_class", "")) if path.is_file() else ""
    if name.removesuffix("Fast") in CANONICALIZING:
        return "canonicalize"
    return "lower" if model_type in LOWER_CASE else "whitespace"


def require_end_token(folder: Path, pooling: tuple[str, int], vocabulary: int, tokenizer: Any) -> None:
    """Raises ExportError if a text tower reads its embedding at a token that ends no text.

    Args:
        pooling: open_clip's pool type and its end token.
        vocabulary: number of tokens; `argmax` reads at the highest one.
        tokenizer: open_clip's, of either kind.
    """
    pool, token = pooling
    if pool not in ("argmax", "eos"):
        return
    wanted = token if pool == "eos" else vocabulary - 1
    inner = getattr(tokenizer, "tokenizer", None)
    ending = tokenizer.eot_token_id if inner is None else inner("a")["input_ids"][-1]
    if ending != wanted:
        raise ExportError(
            f"the tokenizer of {folder} ends texts with token {ending}, and by eos_token_id in its "
            f"config.json embeddings are read at token {wanted}"
        )


def is_openai(folder: Path, vocabulary: int) -> bool:
    """Whether a CLIP folder has OpenAI's tokenizer. Without files of a tokenizer its size decides."""
    openai = SimpleTokenizer().encoder
    if vocabulary != len(openai):
        return False
    tokens = vocabulary_of(folder)
    ordinary = len(openai) - SPECIAL
    return tokens is None or (
        len(tokens) >= ordinary
        and {token: index for token, index in tokens.items() if index < ordinary}
        == {token: index for token, index in openai.items() if index < ordinary}
    )


def vocabulary_of(folder: Path) -> dict[str, int] | None:
    """Returns the tokens of a folder's byte-pair encoding with their ids; None if it has no such files."""
    if (folder / "tokenizer.json").is_file():
        model = read_json(folder / "tokenizer.json").get("model")
        tokens = model.get("vocab") if isinstance(model, dict) else None
    elif (folder / "vocab.json").is_file():
        tokens = read_json(folder / "vocab.json")
    else:
        return {} if any(folder.glob("*.model")) or (folder / "vocab.txt").is_file() else None
    return tokens if isinstance(tokens, dict) else {}
