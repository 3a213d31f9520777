"""What open_clip itself makes of the samples: pixels, ids and embeddings, in eager float32."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from clipserve_exporter.torchvision_shim import make_importable
from PIL import Image
from torch import Tensor

make_importable()

import open_clip  # noqa: E402  (needs torchvision to be importable)
from open_clip.transform import PreprocessCfg, image_transform_v2  # noqa: E402

BATCH = 8
"""Inputs that open_clip encodes at a time."""


def transform(model: Any, **changes: Any) -> Any:
    """open_clip's transform of a model's pictures."""
    config = PreprocessCfg(**{**model.visual.preprocess_cfg, **changes})
    return image_transform_v2(config, is_train=False)


def normalized(model: Any, pictures: Sequence[bytes]) -> Tensor:
    """The encoder's input: float32 [N, 3, H, W]."""
    scaled = transform(model)
    return torch.stack([scaled(Image.open(io.BytesIO(picture))) for picture in pictures])


def pixels(model: Any, pictures: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """The same before normalization: uint8 [N, H, W, 3]."""
    scaled = transform(model, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    tensors = [scaled(Image.open(io.BytesIO(picture))) for picture in pictures]
    return torch.stack(tensors).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def in_batches(encode: Any, inputs: Tensor) -> npt.NDArray[np.float32]:
    """L2-normalized embeddings: float32 [N, D]."""
    with torch.no_grad():
        return torch.cat([encode(part, normalize=True) for part in inputs.split(BATCH)]).float().numpy()


def reference(
    model: Any, folder: Path, pictures: Sequence[bytes], texts: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    """Everything that the service is compared with.

    Returns:
        pixels uint8 [N, H, W, 3], images float32 [N, D], ids int64 [T, context], texts float32 [T, D].
    """
    ids = open_clip.get_tokenizer(f"local-dir:{folder}")(list(texts))
    return {
        "pixels": pixels(model, pictures),
        "images": in_batches(model.encode_image, normalized(model, pictures)),
        "ids": ids.numpy(),
        "texts": in_batches(model.encode_text, ids),
    }
