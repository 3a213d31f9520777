"""Splits long lists into requests within the server's limits. Does no I/O.

Items keep their positions in the caller's list. Paths in the server's errors are translated into paths of
that list: `inputs[44].image.content` of the second request is the caller's `images[300].content`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from clipserve.types import Limits

TARGET_BYTES = 8 * 1024 * 1024
"""Target size of requests: large enough to keep a server busy, small enough to hold several."""
ITEM_OVERHEAD = 16
"""Maximum bytes of framing (tags and lengths) of one item of a repeated field."""
REQUEST_OVERHEAD = 1024
"""Bytes reserved in each message for small fields."""

INDEXED = re.compile(r"(?:images|inputs|points|ids)\[(\d+)\](.*)", re.DOTALL)


@dataclass(frozen=True)
class Item:
    """One item of a request: its position in the caller's list, its message or string, and its bytes."""

    position: int
    value: Any
    byte_count: int


@dataclass(frozen=True)
class Chunk:
    """One request and the positions of its items in the caller's list."""

    request: Any
    """A message of the job's method."""
    positions: Sequence[int]


@dataclass(frozen=True)
class Capacity:
    """How many items and bytes fit into one request."""

    max_items: int
    max_bytes: int
    """The server refuses larger messages."""
    target_bytes: int = TARGET_BYTES
    """Exceeded only by a single item."""

    def __post_init__(self) -> None:
        if self.max_items < 1 or self.max_bytes < 1:
            raise ValueError("a request must have room for one item")


def split_items(
    items: Iterable[Item], capacity: Capacity, max_items: Callable[[], int] | None = None
) -> Iterator[list[Item]]:
    """The items in order, in lists that each fit into one request. Every item must fit alone.

    Each list also has at most `max_items()` items, asked again for every item; at least 1.
    """
    batch: list[Item] = []
    batch_bytes = 0
    limit_bytes = min(capacity.target_bytes, capacity.max_bytes)
    for item in items:
        count = capacity.max_items if max_items is None else min(capacity.max_items, max_items())
        if batch and (len(batch) >= count or batch_bytes + item.byte_count > limit_bytes):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(item)
        batch_bytes += item.byte_count
    if batch:
        yield batch


def request_capacity(
    limits: Limits, batch_size: int, *, base_bytes: int = 0, answer_bytes: int = 0
) -> Capacity:
    """The capacity of requests with `base_bytes` besides their items, and answers of `answer_bytes` per item.

    Answers must fit into a message too, so large answers make small requests.
    """
    usable = max(1, limits.max_message_bytes - REQUEST_OVERHEAD)
    answers = usable // answer_bytes if answer_bytes else limits.max_items_per_call
    return Capacity(
        max_items=max(1, min(limits.max_items_per_call, batch_size, answers)),
        max_bytes=max(1, usable - base_bytes),
    )


def item_bytes(message: Message) -> int:
    """Bytes of a message as an item of a request."""
    return message.ByteSize() + ITEM_OVERHEAD


def rebaser(name: str, positions: Sequence[int]) -> Callable[[str], str]:
    """Translates paths of one request into paths of the caller's list `name`. Other paths do not change."""

    def rebase(field: str) -> str:
        match = INDEXED.fullmatch(field)
        if match is None or int(match[1]) >= len(positions):
            return field
        rest = match[2]
        if name in ("images", "texts"):
            # In an Embed request, images and texts are one field deeper than in the caller's list.
            rest = re.sub(r"^\.(?:image|text)(?=\.|$)", "", rest)
        return f"{name}[{positions[int(match[1])]}]{rest}"

    return rebase


def check_list(value: object, name: str, example: str) -> None:
    """Raises TypeError for a single item instead of a list: strings and arrays are iterable too."""
    single = isinstance(value, str | bytes | bytearray | memoryview) or hasattr(value, "__fspath__")
    if single or getattr(value, "ndim", None) == 3 or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be a list of {example}, not a single {type(value).__name__}")
