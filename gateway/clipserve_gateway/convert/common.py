"""What every service reads and writes: images, texts, counts and the model that answered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import TypeVar

from clipserve.v1 import common_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from clipserve_gateway.errors import ImageUnreadable, InvalidInput, LimitExceeded
from clipserve_gateway.types import EncodedImage, Limits, ModelSpec, RawImage

T = TypeVar("T")
M = TypeVar("M", bound=Message)
R = TypeVar("R")


def read_each(read: Callable[[T], R], items: Iterable[T]) -> list[R | InvalidInput]:
    """Every item, read; in the place of one that cannot be accepted stands what is wrong with it."""

    def one(item: T) -> R | InvalidInput:
        try:
            return read(item)
        except InvalidInput as error:
            return error

    return [one(item) for item in items]


def hashed(items: Iterable[object]) -> None:
    """Has pictures and texts know their hashes, by which equal ones are found: of 64 MB it takes 40 ms."""
    for item in items:
        if isinstance(item, EncodedImage | RawImage | str):
            hash(item)


def read_image(image: common_pb2.Image, path: str = "") -> EncodedImage | RawImage:
    """The picture; InvalidInput where none is set or raw pixels do not fill their size.

    What encoded bytes hold is found out when they are decoded. `path` goes before the field's name.
    """
    source = image.WhichOneof("source")
    if source is None:
        raise ImageUnreadable("set content (an encoded file) or raw (pixels)", field=path + "content")
    if source == "content":
        if not image.content:
            raise ImageUnreadable("the image has no bytes", field=path + "content")
        return EncodedImage(image.content, image.exact_pixels)
    raw = image.raw
    if not raw.width or not raw.height:
        side = "height" if raw.width else "width"
        raise InvalidInput("width and height must be at least 1", field=f"{path}raw.{side}")
    size = raw.width * raw.height * 3
    if len(raw.rgb) != size:
        raise InvalidInput(
            f"{raw.width} × {raw.height} RGB pixels take {size} bytes, not {len(raw.rgb)}",
            field=path + "raw.rgb",
        )
    return RawImage(raw.rgb, raw.width, raw.height, image.exact_pixels)


def check_text(text: str, limits: Limits, field: str) -> None:
    """LimitExceeded if the text is too long to be looked at."""
    check_bytes("text", text, limits.max_text_bytes, field)


def check_bytes(what: str, text: str, limit: int, field: str) -> None:
    """LimitExceeded for a text of more bytes in UTF-8; `what` names it in the message."""
    # A character takes at most 4 bytes: most texts need no encoding to be measured.
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise LimitExceeded(
            f"the {what} has more than {limit} bytes", field=field, metadata={"limit": str(limit)}
        )


def check_count(count: int, limit: int, field: str) -> None:
    """InvalidInput for nothing at all, LimitExceeded for too much."""
    if count == 0:
        raise InvalidInput(f"{field} must not be empty", field=field)
    if count > limit:
        raise LimitExceeded(
            f"{field} has {count} items; at most {limit} fit into one call",
            field=field,
            metadata={"limit": str(limit)},
        )


def read_top_k(top_k: int, default: int) -> int:
    """How many to return; 0 means the default."""
    if top_k < 0:
        raise InvalidInput(f"top_k is {top_k}; it must not be negative", field="top_k")
    return top_k or default


def write_model(spec: ModelSpec) -> common_pb2.ModelRef:
    """The model that answered."""
    return common_pb2.ModelRef(name=spec.name, fingerprint=spec.fingerprint, embed_dim=spec.embed_dim)


def write_time(moment: dt.datetime) -> Timestamp:
    """A moment."""
    written = Timestamp()
    written.FromDatetime(moment)
    return written


def check_fits(response: M, limits: Limits, field: str) -> M:
    """The response, unless it is too large for a message; then LimitExceeded names what asks for less."""
    size = response.ByteSize()
    if size > limits.max_message_bytes:
        raise LimitExceeded(
            f"the answer takes {size} bytes, and a message holds {limits.max_message_bytes}; ask for less",
            field=field,
            metadata={"limit": str(limits.max_message_bytes)},
        )
    return response
