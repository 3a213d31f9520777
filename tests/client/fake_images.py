"""Images of the fake server."""

from __future__ import annotations

import io

import numpy as np
from client.fake_base import invalid
from client.fake_model import embed_pixels
from clipserve.v1 import clip_pb2, common_pb2
from PIL import Image


def read_image(image: common_pb2.Image, limits: clip_pb2.Limits) -> Image.Image:
    """Decodes an image; raises Refused for an invalid one."""
    if image.WhichOneof("source") == "raw":
        raw = image.raw
        if not raw.width or not raw.height or len(raw.rgb) != raw.width * raw.height * 3:
            raise invalid("INVALID_INPUT", "the pixels do not fill their size", "raw.rgb")
        return Image.frombytes("RGB", (raw.width, raw.height), raw.rgb)
    if not image.content:
        raise invalid("IMAGE_UNREADABLE", "the image has no bytes", "content")
    if len(image.content) > limits.max_image_bytes:
        raise invalid("IMAGE_TOO_LARGE", "too many bytes", "content")
    try:
        return Image.open(io.BytesIO(image.content)).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise invalid("IMAGE_UNREADABLE", f"not an image: {error}", "content") from error


def embed_image(image: common_pb2.Image, limits: clip_pb2.Limits) -> np.ndarray:
    """float32 [DIM]; raises Refused for an invalid image."""
    return embed_pixels(read_image(image, limits))


def encoded(image: common_pb2.Image, limits: clip_pb2.Limits) -> bytes:
    """The image as a file: unchanged, or as PNG if it was sent as pixels."""
    if image.WhichOneof("source") == "content":
        return image.content
    file = io.BytesIO()
    read_image(image, limits).save(file, "PNG")
    return file.getvalue()
