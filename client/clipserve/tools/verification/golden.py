"""Reads the golden file of an export: pictures and texts, and the embeddings that open_clip makes of them."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipserve.safe_text import quoted
from clipserve.types import Floats

FORMAT = 1
MAX_FILE_BYTES = 64 * 1024 * 1024
"""Of the file, and of its content after decompression."""


class GoldenError(Exception):
    """A file that cannot be used; the message names it, the reason and the remedy."""


@dataclass(frozen=True, eq=False)
class Golden:
    """What an export recorded."""

    model: str
    """Name under which the model was exported."""
    fingerprint: str
    images: tuple[bytes, ...]
    """Encoded pictures without orientation and transparency."""
    image_names: tuple[str, ...]
    texts: tuple[str, ...]
    image_vectors: Floats
    """float32 [images, D], before L2."""
    text_vectors: Floats
    """float32 [texts, D], before L2."""
    truncated: tuple[bool, ...]
    """Whether each text is longer than the model's context."""


def read_golden(path: Path) -> Golden:
    """The content of a golden file. Raises GoldenError."""
    name = quoted(str(path), 200)
    try:
        arrays = read_arrays(path)
        facts = json.loads(str(arrays["facts"]))
        if facts["format"] != FORMAT:
            raise GoldenError(
                f"{name} has format {quoted(facts['format'])}; this command reads format {FORMAT}: use the "
                "command of the release that exported the model"
            )
        return golden_of(facts, arrays)
    except OSError as error:
        raise GoldenError(f"{name} cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        reason = "it is not an archive of arrays, or it is cut"
        if not isinstance(error, zipfile.BadZipFile):
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise GoldenError(
            f"{name} is not a golden file: {reason}; clipserve-export writes one beside the model's "
            "folders, NAME.golden.npz"
        ) from error


def read_arrays(path: Path) -> dict[str, Any]:
    """All entries of the file. Nothing in it is unpickled."""
    with zipfile.ZipFile(path) as archive:
        content = sum(entry.file_size for entry in archive.infolist())
        if content > MAX_FILE_BYTES:
            raise ValueError(f"it holds {content:,} bytes, more than {MAX_FILE_BYTES:,}")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def golden_of(facts: dict[str, Any], arrays: dict[str, Any]) -> Golden:
    """The content of the entries. Raises KeyError, TypeError or ValueError if they do not fit together."""
    sizes = [int(size) for size in arrays["image_sizes"]]
    content = arrays["image_bytes"].astype(np.uint8, casting="safe").tobytes()
    if min(sizes, default=1) < 1 or sum(sizes) != len(content):
        raise ValueError("the sizes of its pictures do not add up")
    ends = np.cumsum(sizes).tolist()
    golden = Golden(
        model=str(facts["model"]),
        fingerprint=str(facts["fingerprint"]),
        images=tuple(content[end - size : end] for size, end in zip(sizes, ends, strict=True)),
        image_names=tuple(map(str, facts["images"])),
        texts=tuple(map(str, facts["texts"])),
        image_vectors=arrays["image_vectors"],
        text_vectors=arrays["text_vectors"],
        truncated=tuple(map(bool, arrays["truncated"])),
    )
    dim = int(facts["embed_dim"])
    for name, vectors, count in (
        ("image_vectors", golden.image_vectors, len(golden.images)),
        ("text_vectors", golden.text_vectors, len(golden.texts)),
    ):
        if vectors.shape != (count, dim) or vectors.dtype != np.float32:
            raise ValueError(f"{name} is {vectors.dtype} {vectors.shape}, not float32 {(count, dim)}")
        if not np.isfinite(vectors).all() or not np.linalg.norm(vectors, axis=1).all():
            raise ValueError(f"{name} has rows that are zero or not finite")
    if not (len(golden.image_names) == len(golden.images) and len(golden.truncated) == len(golden.texts)):
        raise ValueError("its names and flags do not match its pictures and texts")
    if not golden.images or not golden.texts:
        raise ValueError("it has no pictures or no texts")
    return golden
