"""Reads what a golden file says about inputs: pictures with their pixels, texts with their token ids."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clipserve_gateway.types import Ids, Pixels, Preprocess, TokenizerSpec

FORMAT = 1
MAX_BYTES = 64 * 1024 * 1024
"""Of the content after decompression."""


class GoldenError(Exception):
    """A file that cannot be used; the message names it, the reason and the remedy."""


@dataclass(frozen=True)
class GoldenPicture:
    """A picture, and its pixels by open_clip."""

    name: str
    content: bytes
    sha256: str
    """Of the pixels, uint8 [height, width, 3], as 64 hex digits."""
    sample: Pixels
    """Some of the pixels: every `pixel_step`-th row and column, uint8 [h, w, 3]."""


@dataclass(frozen=True)
class GoldenText:
    """A text, and its token ids by open_clip."""

    text: str
    ids: Ids
    """int32 [context_length], padded."""
    truncated: bool


@dataclass(frozen=True)
class Golden:
    """What an export recorded of its inputs."""

    model: str
    fingerprint: str
    preprocess: Preprocess
    tokenizer: TokenizerSpec
    pixel_step: int
    pictures: tuple[GoldenPicture, ...]
    texts: tuple[GoldenText, ...]


def read_golden(path: Path) -> Golden:
    """The content of a golden file. Raises GoldenError."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > MAX_BYTES:
                raise ValueError(f"it holds {size:,} bytes, more than {MAX_BYTES:,}")
        with np.load(path, allow_pickle=False) as entries:
            return golden_of({name: entries[name] for name in entries.files})
    except OSError as error:
        raise GoldenError(f"{path} cannot be read: {error.strerror or error}") from error
    except (KeyError, IndexError, TypeError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        reason = "it is not an archive of arrays, or it is cut"
        if not isinstance(error, zipfile.BadZipFile):
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise GoldenError(
            f"{path} is not a golden file: {reason}; clipserve-export writes one beside the model's folders, "
            "NAME.golden.npz"
        ) from error


def golden_of(entries: Mapping[str, Any]) -> Golden:
    """The content of the entries. Raises KeyError, IndexError, TypeError or ValueError."""
    facts = json.loads(str(entries["facts"]))
    if facts["format"] != FORMAT:
        raise ValueError(f"it has format {facts['format']}, and this gateway reads format {FORMAT}")
    sizes = [int(size) for size in entries["image_sizes"]]
    content = entries["image_bytes"].astype(np.uint8, casting="safe").tobytes()
    if min(sizes, default=1) < 1 or sum(sizes) != len(content):
        raise ValueError("the sizes of its pictures do not add up")
    ends = np.cumsum(sizes).tolist()
    pixels, tokens = facts["preprocess"], facts["tokenizer"]
    context = int(facts["context_length"])
    ids: npt.NDArray[np.int32] = entries["ids"].astype(np.int32, casting="same_kind")
    if ids.shape != (len(facts["texts"]), context):
        raise ValueError(f"ids has shape {ids.shape}, not {(len(facts['texts']), context)}")
    return Golden(
        model=str(facts["model"]),
        fingerprint=str(facts["fingerprint"]),
        preprocess=Preprocess(
            int(pixels["height"]),
            int(pixels["width"]),
            resize=pixels["resize"],
            interpolation=pixels["interpolation"],
            fill=int(pixels["fill"]),
        ),
        tokenizer=TokenizerSpec(
            context,
            kind=tokens["kind"],
            sha256=tokens["sha256"],
            clean=tokens["clean"],
            pad_id=int(tokens["pad_id"]),
            strip_id=tokens["strip_id"],
            special_tokens=tokens["special_tokens"],
            vocab_size=int(tokens["vocab_size"]),
        ),
        pixel_step=int(facts["pixel_step"]),
        pictures=tuple(
            GoldenPicture(str(name), content[end - size : end], str(sha256), sample)
            for name, size, end, sha256, sample in zip(
                *(facts["images"], sizes, ends, entries["pixel_sha256"], entries["pixel_sample"]), strict=True
            )
        ),
        texts=tuple(
            GoldenText(str(text), row, bool(truncated))
            for text, row, truncated in zip(facts["texts"], ids, entries["truncated"], strict=True)
        ),
    )
