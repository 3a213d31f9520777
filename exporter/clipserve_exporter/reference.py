"""Embeddings by open_clip itself, the reference for every exported graph."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from clipserve_exporter.preprocessing import Preprocess
from clipserve_exporter.source import Source
from clipserve_exporter.torchvision_shim import make_importable

make_importable()

from open_clip.transform import PreprocessCfg, image_transform_v2  # noqa: E402  (needs torchvision to be importable)
from torchvision.transforms.functional import normalize, to_tensor  # noqa: E402


def load_pixels(content: bytes, preprocess: Preprocess) -> npt.NDArray[np.uint8]:
    """Decodes and resizes an image by open_clip's transform: RGB uint8 [H, W, 3]."""
    transform = image_transform_v2(
        PreprocessCfg(
            size=(preprocess.height, preprocess.width),
            resize_mode=preprocess.resize,
            interpolation=preprocess.interpolation,
            fill_color=preprocess.fill,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        ),
        is_train=False,
    )
    scaled = transform(Image.open(io.BytesIO(content)))
    return np.array(scaled.mul(255).round().to(torch.uint8).permute(1, 2, 0))


def encode_images(source: Source, pixels: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 [B, S, S, 3] → float32 [B, D], by torchvision's normalization and open_clip's eager model."""
    mean, std = list(source.preprocess.mean), list(source.preprocess.std)
    return source.encode_image(torch.stack([normalize(to_tensor(one), mean, std) for one in pixels]))


def encode_texts(source: Source, texts: Sequence[str]) -> Tensor:
    """Texts → float32 [B, D], by open_clip's tokenizer and eager model at full length."""
    return source.encode_text(tokenize(source, texts))


def tokenize(source: Source, texts: Sequence[str], context_length: int | None = None) -> Tensor:
    """Texts → int64 [B, context_length], by open_clip's tokenizer; by default of the model's own length."""
    return source.tokenize(list(texts), context_length)
