"""What open_clip itself makes of pictures and texts: the measure for every exported graph."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from clipserve_exporter.source import Source


def load_pixels(content: bytes, size: int) -> npt.NDArray[np.uint8]:
    """An encoded picture as open_clip's transform cuts it: RGB uint8 [size, size, 3]."""
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    image = Resize(size, InterpolationMode.BICUBIC)(Image.open(io.BytesIO(content)).convert("RGB"))
    return np.array(CenterCrop(size)(image))


def encode_images(source: Source, pixels: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 [B, S, S, 3] → float32 [B, D], by open_clip's eager model after torchvision's normalization."""
    from torchvision.transforms.functional import normalize, to_tensor

    images = torch.stack(
        [normalize(to_tensor(one), source.preprocess.mean, source.preprocess.std) for one in pixels]
    )
    return source.model.encode_image(images, normalize=False)


def encode_texts(source: Source, texts: Sequence[str]) -> Tensor:
    """Texts → float32 [B, D], by open_clip's tokenizer and eager model at full length."""
    return encode_tokens(source, tokenize(source, texts))


def encode_tokens(source: Source, tokens: Tensor) -> Tensor:
    """int64 [B, context_length] → float32 [B, D], by open_clip's eager model."""
    return source.model.encode_text(tokens, normalize=False)


def tokenize(source: Source, texts: Sequence[str]) -> Tensor:
    """int64 [B, context_length], 0 after the end token."""
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(context_length=source.context_length)(list(texts))
