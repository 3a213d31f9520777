"""The types that callers may pass as an image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image as PillowImage

ImageLike: TypeAlias = Union[
    bytes,
    bytearray,
    memoryview,
    str,
    "os.PathLike[str]",
    npt.NDArray[np.uint8],
    "PillowImage.Image",
    "ExactPixels",
]
"""Bytes of an encoded file, a path (str or PathLike), uint8 [H, W, 3] RGB, a Pillow image, or ExactPixels."""


@dataclass(frozen=True)
class ExactPixels:
    """An image that the server decodes exactly as open_clip does, instead of faster with small differences.

    Decoding a large JPEG takes two to five times as long. Useful to compare with other implementations, and
    for images of fine, regular textures.
    """

    image: ImageLike
