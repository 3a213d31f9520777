"""Long lists become requests that keep to a server's limits. Nothing in here sends anything.

Items keep their positions in the caller's list, and the paths in the server's errors are turned back into
paths of that list: `inputs[44].image.content` of the second request is the caller's `images[300].content`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

SOFT_BYTES = 8 * 1024 * 1024
"""Requests stop growing here, so that a few of them in flight fit into memory and keep all stages busy."""
ITEM_OVERHEAD = 16
"""Bytes of framing around one item of a repeated field, at most (tags and lengths)."""
REQUEST_OVERHEAD = 1024
"""Bytes left free in each message for small fields."""

INDEXED = re.compile(r"(?:images|inputs|points|ids)\[(\d+)\](.*)", re.DOTALL)


@dataclass(frozen=True)
class Item:
    """One item of a request: its position in the caller's list, its message (or string), its bytes."""

    position: int
    value: Any
    size: int


@dataclass(frozen=True)
class Chunk:
    """One request and the positions of its items in the caller's list."""

    request: Any
    """A message of the job's method."""
    positions: Sequence[int]


@dataclass(frozen=True)
class Room:
    """What one request can hold."""

    items: int
    hard_bytes: int
    """Never more: the server would refuse the message."""
    soft_bytes: int = SOFT_BYTES
    """Not more, unless a single item is larger."""

    def __post_init__(self) -> None:
        if self.items < 1 or self.hard_bytes < 1:
            raise ValueError("a request must have room for one item")

    def fits(self, size: int) -> bool:
        """Whether an item fits into a request of its own."""
        return size <= self.hard_bytes


def cut(items: Iterable[Item], room: Room, most: Callable[[], int] | None = None) -> Iterator[list[Item]]:
    """The items in their order, in lists that fit into a request each. Every item alone must fit.

    `most` says how many items the list that is being made has at most, no fewer than 1.
    """
    batch: list[Item] = []
    size = 0
    limit = min(room.soft_bytes, room.hard_bytes)
    for item in items:
        count = room.items if most is None else min(room.items, most())
        if batch and (len(batch) >= count or size + item.size > limit):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        yield batch


def room_for(
    *, max_items: int, max_message_bytes: int, base_bytes: int = 0, answer_bytes: int = 0, batch_size: int
) -> Room:
    """The room in requests that begin with `base_bytes` and whose answers have `answer_bytes` an item.

    Answers must fit into a message too, so wide answers make small requests.
    """
    usable = max(1, max_message_bytes - REQUEST_OVERHEAD)
    by_answer = usable // answer_bytes if answer_bytes else max_items
    return Room(
        items=max(1, min(max_items, batch_size, by_answer)),
        hard_bytes=max(1, usable - base_bytes),
    )


def wire_size(message: Message) -> int:
    """Bytes that a message takes as an item of a request."""
    return message.ByteSize() + ITEM_OVERHEAD


def rebaser(name: str, positions: Sequence[int]) -> Callable[[str], str]:
    """Turns paths of one request into paths of the caller's list `name`.

    Paths that are not of an item stay as they are.
    """

    def rebase(field: str) -> str:
        found = INDEXED.fullmatch(field)
        if found is None or int(found[1]) >= len(positions):
            return field
        rest = found[2]
        if name in ("images", "texts"):
            # Embed's inputs are pictures or texts one field deeper than the caller's.
            rest = re.sub(r"^\.(?:image|text)(?=\.|$)", "", rest)
        return f"{name}[{positions[int(found[1])]}]{rest}"

    return rebase


def check_list(value: object, name: str, example: str) -> None:
    """TypeError for a single item where a list of items is meant: strings and arrays are iterable too."""
    single = isinstance(value, str | bytes | bytearray | memoryview) or hasattr(value, "__fspath__")
    if single or getattr(value, "ndim", None) == 3 or not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be a list of {example}, not a single {type(value).__name__}")
