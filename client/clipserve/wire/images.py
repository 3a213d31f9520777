"""Converts images of all accepted Python types into Image messages.

Encoded bytes and files are sent unchanged; arrays and RGB Pillow images as raw pixels. Pillow images of other
modes are sent such that they get the embedding of their original file. Pillow itself is not required.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from clipserve.errors import ImageTooLarge, ImageUnreadable
from clipserve.inputs.files import FileTooLarge, read_regular
from clipserve.inputs.image_like import ExactPixels, ImageLike
from clipserve.inputs.text_checks import encoded_kind
from clipserve.safe_text import quoted, shortened
from clipserve.v1 import common_pb2
from clipserve.wire.pillow_images import write_pillow

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Maximum size of an image file if the server's own limit is not known."""


def write_image(image: ImageLike, max_file_bytes: int = MAX_FILE_BYTES) -> common_pb2.Image:
    """The message of one image.

    Raises TypeError or ValueError for an invalid Python value, ImageUnreadable for a file that cannot be read
    or is not a regular file, and ImageTooLarge, without reading it, for a file with more than
    `max_file_bytes`. The server checks the content of encoded bytes.
    """
    if isinstance(image, ExactPixels):
        message = write_image(image.image, max_file_bytes)
        message.exact_pixels = True
        return message
    if isinstance(image, bytes):
        return common_pb2.Image(content=image)
    if isinstance(image, bytearray | memoryview):
        return common_pb2.Image(content=bytes(image))
    if isinstance(image, str | os.PathLike):
        return common_pb2.Image(content=read_file(image, max_file_bytes))
    if isinstance(image, np.ndarray):
        return write_array(image)
    if is_pillow(image):
        return write_pillow(image)
    raise TypeError(
        f"an image is bytes, a path, a uint8 array [H, W, 3] or a Pillow image, not {type(image).__name__}"
    )


def read_file(path: str | os.PathLike[str], limit: int = MAX_FILE_BYTES) -> bytes:
    """The file's bytes. Raises ImageTooLarge, or ImageUnreadable with the OSError as its cause."""
    try:
        return read_regular(path, limit)
    except FileTooLarge as error:
        raise too_large(error.size, limit) from error
    except (OSError, ValueError) as error:
        raise ImageUnreadable(unreadable(os.fspath(path), error)) from error


def unreadable(path: str, error: OSError | ValueError) -> str:
    """The message of an unreadable file: the reason, and what to do."""
    kind = encoded_kind(path)
    if kind == "a URL":
        return f"{quoted(path)} is a URL, and URLs are not fetched: download the image first"
    if kind:
        return f"{quoted(path)} is {kind}, not a path: decode it with base64.b64decode and pass the bytes"
    why = error.strerror if isinstance(error, OSError) and error.strerror else shortened(str(error), 200)
    return f"cannot read {quoted(path, 200)}: {why}"


def too_large(size: int, limit: int) -> ImageTooLarge:
    """The error for a file that the server would refuse because of its size."""
    return ImageTooLarge(
        f"the image has {size} bytes; at most {limit} are accepted",
        field="content",
        metadata={"limit": str(limit)},
    )


def write_array(array: npt.NDArray[Any]) -> common_pb2.Image:
    """The message of decoded pixels. Raises ValueError unless they are uint8 [H, W, 3]."""
    shape = list(array.shape)
    if array.dtype != np.uint8:
        raise ValueError(
            f"an image array must be uint8 (0–255), not {array.dtype}; scale floats: "
            "(255 * x).round().clip(0, 255).astype(np.uint8)"
        )
    if array.ndim != 3 or shape[2] != 3:
        hint = ""
        if array.ndim == 2:
            hint = "; repeat a gray image: np.stack([x] * 3, axis=-1)"
        elif array.ndim == 3 and shape[0] == 3:
            hint = "; channels come last: x.transpose(1, 2, 0)"
        elif array.ndim == 3 and shape[2] == 4:
            hint = "; drop the alpha channel: x[..., :3]"
        raise ValueError(f"an image array must have shape [H, W, 3], not {shape}{hint}")
    if 0 in shape:
        raise ValueError(f"an image must have at least one pixel, not shape {shape}")
    return common_pb2.Image(
        raw=common_pb2.RawImage(rgb=array.tobytes(), width=array.shape[1], height=array.shape[0])
    )


def is_pillow(image: object) -> bool:
    """Whether this is a Pillow image. If so, the caller has imported Pillow already."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)
