"""The golden file of an export: pictures and texts with what open_clip makes of them.

`clipserve verify --golden FILE` compares a running service with it, `clipserve-gateway verify --golden FILE`
the gateway's own preprocessing and tokenizer. It is an .npz file without pickled objects:

| entry | content |
|---|---|
| `facts` | JSON: `format` 1, `model`, `fingerprint`, `embed_dim`, `preprocess`, `tokenizer`, `context_length`, `pixel_step`, names of the `images`, the `texts`, `versions` of the libraries |
| `image_bytes`, `image_sizes` | the encoded pictures one after another, uint8, and the bytes of each, int64 [N] |
| `image_vectors`, `text_vectors` | open_clip's float32 embeddings before L2, [N, D] and [M, D] |
| `pixel_sha256` | SHA-256 of each picture's pixels, uint8 [height, width, 3], as 64 hex digits |
| `pixel_sample` | every `pixel_step`-th row and column of these pixels, uint8 [N, h, w, 3] |
| `ids`, `truncated` | open_clip's token ids, int32 [M, context_length], and whether the text is longer, bool [M] |

No picture has an orientation tag or transparency, so that every image rule of a server gives the same pixels.
"""  # noqa: E501  (a table)

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import PIL
import torch
from PIL import Image

from clipserve_exporter.config import ModelFacts
from clipserve_exporter.errors import ExportError
from clipserve_exporter.reference import encode_images, load_pixels, tokenize
from clipserve_exporter.source import Source

SUFFIX = ".golden.npz"
FORMAT = 1
SAMPLE_SIDE = 32
"""Most rows and columns of a sample of pixels."""
BATCH = 4
LONGER = 2
"""Factor of the context length with which a text shows that it is longer than the context."""

TEXTS = (
    "a photo of a cat",
    "",
    "A  Photo\tof a DOG, running & jumping!\n",
    "caf\u00e9 caf\u0065\u0301 na\u00efve \ufb01ancé",
    "it's 3.14 & 1,000,000 &lt;b&gt; 50 % off — “quoted”… it’s #1",
    "一张猫的照片",
    "猫の写真と犬の絵",
    "고양이 사진",
    "фотография кошки на снегу",
    "صورة قطة على الشاطئ",
    "תמונה של חתול",
    "बिल्ली की तस्वीर",
    "ภาพถ่ายของแมว",
    "🐈‍⬛ 👩🏽‍🚀 🇫🇷 ☕️",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
)
LONG_TEXTS = ("a small red boat, {} of them, under a bright sky, ", "猫と{}匹の犬が海辺で遊んでいる写真。")
"""Repeated with a number until they are longer than any context."""


def golden_bytes(source: Source, facts: ModelFacts) -> bytes:
    """The golden file of a model; equal for equal models, machines and libraries."""
    pictures = dict(picture_files())
    texts = golden_texts(source.context_length)
    pixels = np.stack([load_pixels(content, source.preprocess) for content in pictures.values()])
    ids = tokenize(source, texts)
    step = max(1, -(-max(pixels.shape[1:3]) // SAMPLE_SIDE))
    described: dict[str, Any] = {
        "format": FORMAT,
        "model": facts.name,
        "fingerprint": facts.fingerprint,
        "embed_dim": facts.embed_dim,
        "preprocess": dataclasses.asdict(source.preprocess),
        "tokenizer": dataclasses.asdict(source.tokenizer),
        "context_length": source.context_length,
        "pixel_step": step,
        "images": list(pictures),
        "texts": texts,
        "versions": {
            "open_clip": open_clip.__version__,
            "torch": torch.__version__,
            "pillow": PIL.__version__,
        },
    }
    file = io.BytesIO()
    np.savez_compressed(
        file,
        facts=np.array(json.dumps(described)),
        image_bytes=np.frombuffer(b"".join(pictures.values()), np.uint8),
        image_sizes=np.array([len(content) for content in pictures.values()], np.int64),
        image_vectors=np.concatenate([part.numpy() for part in encoded(source, pixels)]),
        text_vectors=source.encode_text(ids).numpy(),
        pixel_sha256=np.array([hashlib.sha256(one.tobytes()).hexdigest() for one in pixels]),
        pixel_sample=pixels[:, ::step, ::step],
        ids=ids.numpy().astype(np.int32),
        truncated=longer_than_context(source, texts),
    )
    return file.getvalue()


def encoded(source: Source, pixels: npt.NDArray[np.uint8]) -> Iterator[torch.Tensor]:
    """Embeddings of a few pictures at a time, because eager models need much memory."""
    for begin in range(0, len(pixels), BATCH):
        yield encode_images(source, pixels[begin : begin + BATCH])


def longer_than_context(source: Source, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Whether each text has more tokens than the context: bool [M]."""
    context = source.context_length
    whole = tokenize(source, texts, LONGER * context).numpy()
    # After the end of a text there is only padding; a text longer than the context has other tokens there.
    return np.array([bool((row[context:] != row[-1]).any()) for row in whole])


def golden_texts(context_length: int) -> list[str]:
    """The texts; the last two are longer than the context."""
    return [*TEXTS, *("".join(map(text.format, range(context_length))) for text in LONG_TEXTS)]


def picture_files() -> Iterator[tuple[str, bytes]]:
    """Names and contents of small pictures: several formats and modes, sides from 5 to 640 pixels."""
    yield "photo-4x3.jpg", saved(scene(160, 120, 1), "JPEG", quality=90)
    yield "photo-odd.jpg", saved(scene(97, 61, 2), "JPEG", quality=75)
    yield "photo-large.jpg", saved(scene(640, 427, 3), "JPEG", quality=60)
    yield "photo-fine-color.jpg", saved(scene(90, 131, 4), "JPEG", quality=85, subsampling=0)
    yield "gray.jpg", saved(scene(50, 70, 5).convert("L"), "JPEG", quality=90)
    yield "cmyk.jpg", saved(scene(64, 48, 6).convert("CMYK"), "JPEG", quality=90)
    yield "square.png", saved(scene(64, 64, 7), "PNG")
    yield "wide.png", saved(scene(300, 7, 8), "PNG")
    yield "tall.png", saved(scene(5, 200, 9), "PNG")
    yield "palette.png", saved(scene(77, 50, 10).quantize(32), "PNG")
    yield "screen.gif", saved(scene(60, 91, 11).quantize(16), "GIF")
    yield "photo.webp", saved(scene(83, 110, 12), "WEBP", quality=80)


def scene(width: int, height: int, seed: int) -> Image.Image:
    """A picture with gradients, discs of several colors and a little noise; the same for the same seed."""
    random = np.random.default_rng(seed)
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    top, bottom, side = random.integers(0, 256, (3, 3))
    colors = top + (bottom - top) * down[..., None] + (side - top) * 0.4 * across[..., None]
    for _ in range(6):
        y, x, radius = random.random(3) * (1, 1, 0.3)
        disc = (down - y) ** 2 + (across - x) ** 2 < radius**2
        colors[disc] = 0.3 * colors[disc] + 0.7 * random.integers(0, 256, 3)
    colors += random.normal(0, 6, colors.shape)
    return Image.fromarray(colors.clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def write_golden(out: Path, name: str, content: bytes) -> Path:
    """Writes a model's golden file at once or not at all, and returns its path. Raises ExportError.

    It is in the repository, beside the folders of the towers: Triton looks only at folders there.
    """
    path = out / f"{name}{SUFFIX}"
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise ExportError(
            f"the model was written, but not its golden file {path}: {error.strerror or error}; "
            "`clipserve verify` needs it, so export again"
        ) from error
    return path
