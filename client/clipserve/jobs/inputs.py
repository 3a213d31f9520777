"""Images and texts of requests, checked without decoding them."""

from __future__ import annotations

from typing import Any

from clipserve.errors import LimitExceeded
from clipserve.inputs.image_like import ImageLike
from clipserve.inputs.text_encoding import utf8
from clipserve.types import ServerInfo
from clipserve.v1 import common_pb2
from clipserve.wire.images import too_large, write_image


def read_image(image: ImageLike, info: ServerInfo) -> common_pb2.Image:
    """The image's message. Raises ImageTooLarge if it has more bytes than the server allows."""
    limit = info.limits.max_image_bytes
    message = write_image(image, limit)
    if len(message.content) > limit:
        raise too_large(len(message.content), limit)
    return message


def read_text(text: Any, info: ServerInfo) -> str:
    """The text. Raises LimitExceeded if it has more bytes than the server allows."""
    if not isinstance(text, str):
        raise TypeError(f"a text is a str, not {type(text).__name__}")
    if len(utf8(text).encode()) > info.limits.max_text_bytes:
        raise LimitExceeded(
            f"the text has more than {info.limits.max_text_bytes} bytes",
            metadata={"limit": str(info.limits.max_text_bytes)},
        )
    return text
