"""Conversions that every service needs: images, texts, counts, times and models."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import TypeVar

from clipserve.v1 import common_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from clipserve_gateway.collection.spec import Generation
from clipserve_gateway.errors import ImageUnreadable, InvalidInput, LimitExceeded
from clipserve_gateway.setting_values import parse_color
from clipserve_gateway.types import EncodedImage, ImageRules, Limits, ModelSpec, RawImage

MAX_ORIENTATION = 8
RESULT_BYTES = 1_024
"""Of one item's status and framing in a response, at most."""
RESPONSE_BYTES = 1_024
"""Of a response's other fields, at most."""

T = TypeVar("T")
M = TypeVar("M", bound=Message)
R = TypeVar("R")


def read_each(read: Callable[[T], R], items: Iterable[T]) -> list[R | InvalidInput]:
    """The result of `read` for every item, or the InvalidInput that it raised."""

    def result_or_error(item: T) -> R | InvalidInput:
        try:
            return read(item)
        except InvalidInput as error:
            # The frames of its traceback refer to the item.
            return error.with_traceback(None)

    return [result_or_error(item) for item in items]


def compute_hashes(items: Iterable[object]) -> None:
    """Makes images and texts cache their hashes, which deduplication needs: 64 MB take 40 ms."""
    for item in items:
        if isinstance(item, EncodedImage | RawImage | str):
            hash(item)


def read_image(image: common_pb2.Image, path: str = "") -> EncodedImage | RawImage:
    """The image. Raises InvalidInput if it is not set or raw pixels do not match width and height.

    Encoded bytes are validated when they are decoded. `path` precedes the field's name in errors.
    """
    source = image.WhichOneof("source")
    if source is None:
        raise ImageUnreadable("set content (an encoded file) or raw (pixels)", field=path + "content")
    if source == "content":
        if not image.content:
            raise ImageUnreadable("the image is empty", field=path + "content")
        return EncodedImage(image.content, image.exact_pixels)
    raw = image.raw
    if not raw.width or not raw.height:
        side = "height" if raw.width else "width"
        raise InvalidInput("width and height must be at least 1", field=f"{path}raw.{side}")
    expected_bytes = raw.width * raw.height * 3
    if len(raw.rgb) != expected_bytes:
        raise InvalidInput(
            f"{raw.width} × {raw.height} RGB pixels need {expected_bytes} bytes, not {len(raw.rgb)}",
            field=path + "raw.rgb",
        )
    if raw.orientation > MAX_ORIENTATION:
        raise InvalidInput(
            f"orientation is {raw.orientation}; give 1 to {MAX_ORIENTATION} as in EXIF, or 0 for none",
            field=path + "raw.orientation",
        )
    return RawImage(raw.rgb, raw.width, raw.height, image.exact_pixels, raw.orientation or 1)


def check_text(text: str, limits: Limits, field: str) -> None:
    """Raises LimitExceeded if the text has more bytes than allowed."""
    check_bytes("text", text, limits.max_text_bytes, field)


def check_bytes(what: str, text: str, limit: int, field: str) -> None:
    """Raises LimitExceeded for a text of more than `limit` bytes in UTF-8; `what` names it in the message."""
    # A character has at most 4 bytes, so most texts need not be encoded.
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise LimitExceeded(f"the {what} has more than {limit} bytes", field=field, limit=limit)


def check_count(count: int, limit: int, field: str) -> None:
    """Raises InvalidInput if `count` is 0, LimitExceeded if it is above the limit."""
    if count == 0:
        raise InvalidInput(f"{field} must not be empty", field=field)
    check_limit(f"the number of {field}", count, limit, field)


def check_limit(what: str, count: int, limit: int, field: str, advice: str = "") -> None:
    """Raises LimitExceeded if a count is above its limit; `what` names the count, `advice` what to do."""
    if count > limit:
        raise LimitExceeded(f"{what} is {count}; the maximum is {limit}{advice}", field=field, limit=limit)


def check_message_bytes(size: int, limits: Limits, field: str, advice: str) -> None:
    """Raises LimitExceeded if a response of `size` bytes is too large for a message."""
    check_limit("the size of the response in bytes", size, limits.max_message_bytes, field, f". {advice}")


def read_top_k(top_k: int, default: int) -> int:
    """How many results to return; 0 means the default."""
    if top_k < 0:
        raise InvalidInput(f"top_k is {top_k}; it must not be negative", field="top_k")
    return top_k or default


def write_model(model: ModelSpec | Generation) -> common_pb2.ModelRef:
    """The model that answered, or whose embeddings a collection holds."""
    if isinstance(model, Generation):
        return common_pb2.ModelRef(name=model.model, fingerprint=model.fingerprint, embed_dim=model.dim)
    return common_pb2.ModelRef(name=model.name, fingerprint=model.fingerprint, embed_dim=model.embed_dim)


def read_image_rules(rules: common_pb2.ImageRules, field: str) -> ImageRules:
    """The rules. Raises InvalidInput for a background that is not a color."""
    try:
        background = parse_color(rules.alpha_background or "none")
    except ValueError as error:
        raise InvalidInput(str(error), field=f"{field}.alpha_background") from None
    return ImageRules(rules.apply_orientation, background)


def write_image_rules(rules: ImageRules) -> common_pb2.ImageRules:
    """The rules for images."""
    color = "" if rules.background is None else "#{:02x}{:02x}{:02x}".format(*rules.background)
    return common_pb2.ImageRules(apply_orientation=rules.orientation, alpha_background=color)


def write_time(moment: dt.datetime) -> Timestamp:
    """The moment as a Timestamp."""
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def check_fits(response: M, limits: Limits, field: str) -> M:
    """The response. Raises LimitExceeded for `field` if the response is too large for a message."""
    check_message_bytes(response.ByteSize(), limits, field, "Request less at a time")
    return response
