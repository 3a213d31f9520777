"""CIFAR-10: class names, prompts, and readers of its common file formats."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

TEMPLATES = (
    "a photo of a {}.",
    "a blurry photo of a {}.",
    "a black and white photo of a {}.",
    "a low contrast photo of a {}.",
    "a high contrast photo of a {}.",
    "a bad photo of a {}.",
    "a good photo of a {}.",
    "a photo of a small {}.",
    "a photo of a big {}.",
    "a photo of the {}.",
    "a blurry photo of the {}.",
    "a black and white photo of the {}.",
    "a low contrast photo of the {}.",
    "a high contrast photo of the {}.",
    "a bad photo of the {}.",
    "a good photo of the {}.",
    "a photo of the small {}.",
    "a photo of the big {}.",
)
"""The 18 templates that OpenAI's CLIP publishes for CIFAR-10."""


class Cifar10:
    """Labels (int64 [n]) and pictures of one split.

    `path` is an npz of encoded files (`jpeg` uint8: all files; `offset` int64 [n + 1]; `label` uint8 [n]), or
    the folder `cifar-10-batches-py` of which the `train` or test split is read.
    """

    def __init__(self, path: Path, *, train: bool = False) -> None:
        self._pixels: npt.NDArray[np.uint8] | None = None
        if path.is_dir():
            names = [f"data_batch_{i}" for i in range(1, 6)] if train else ["test_batch"]
            batches = [pickle.loads((path / name).read_bytes(), encoding="bytes") for name in names]
            self.labels = np.concatenate([np.asarray(batch[b"labels"], np.int64) for batch in batches])
            flat = np.concatenate([batch[b"data"] for batch in batches])
            self._pixels = flat.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        else:
            with np.load(path) as data:
                self.labels = data["label"].astype(np.int64)
                self._bytes, self._offsets = data["jpeg"].tobytes(), data["offset"]

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: Iterable[int]) -> Iterator[Image.Image]:
        """RGB pictures of 32 × 32 by index."""
        for i in indices:
            if self._pixels is not None:
                yield Image.fromarray(self._pixels[i])
            else:
                encoded = self._bytes[self._offsets[i] : self._offsets[i + 1]]
                yield Image.open(io.BytesIO(encoded)).convert("RGB")
