"""Embeddings by open_clip itself, the reference for every exported graph."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from clipserve_exporter.source import Source
from clipserve_exporter.torchvision_shim import make_importable

make_importable()

from open_clip import SimpleTokenizer  # noqa: E402  (needs torchvision to be importable)
from torchvision.transforms import CenterCrop, InterpolationMode, Resize  # noqa: E402
from torchvision.transforms.functional import normalize, to_tensor  # noqa: E402


def load_pixels(content: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Decodes and crops an image as open_clip's transform does: RGB uint8 [size, size, 3]."""
    image = Resize(size, InterpolationMode.BICUBIC)(Image.open(io.BytesIO(content)).convert("RGB"))
    return np.array(CenterCrop(size)(image))


def encode_images(source: Source, pixels: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 [B, S, S, 3] → float32 [B, D], by torchvision's normalization and open_clip's eager model."""
    mean, std = list(source.preprocess.mean), list(source.preprocess.std)
    return source.encode_image(torch.stack([normalize(to_tensor(one), mean, std) for one in pixels]))


def encode_texts(source: Source, texts: Sequence[str]) -> Tensor:
    """Texts → float32 [B, D], by open_clip's tokenizer and eager model at full length."""
    return source.encode_text(SimpleTokenizer(context_length=source.context_length)(list(texts)))
