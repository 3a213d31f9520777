"""A job is a call over a list of items: it builds the requests and combines their responses.

A job does no I/O and does not wait. A client iterates over its `chunks`, sends several at a time, passes the
responses to `add_response` in order, and returns `result`. So a sync and an async client share all else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from google.protobuf.message import Message

from clipserve.errors import BatchError, ClipserveError, FingerprintMismatch, LimitExceeded, Violation
from clipserve.inputs.text_checks import TextCheck
from clipserve.jobs.warn import warn_of_texts
from clipserve.messages.requests import Capacity, Chunk, Item, split_items
from clipserve.messages.responses import read_model
from clipserve.safe_text import quoted
from clipserve.types import ModelRef, ServerInfo
from clipserve.v1 import common_pb2

R = TypeVar("R")
OnError: TypeAlias = Literal["raise", "return"]

SECONDS_PER_ITEM = 0.5
"""Added to the default timeout per item: a large model on a few cores needs this long for an image."""


@dataclass(frozen=True)
class StreamMethod:
    """The streaming form of a method. Its messages have the fields `batch_id` and `request`."""

    name: str
    message: type[Message]


class Job(ABC, Generic[R]):
    """A call over a list of items.

    Attributes:
        method: name of the RPC.
        total: number of items read so far.
        errors: the errors of items, by position.
    """

    method: ClassVar[str]
    idempotent: ClassVar[bool] = True

    def __init__(self, name: str, items: Iterable[Any], on_error: OnError = "raise") -> None:
        if on_error not in ("raise", "return"):
            raise ValueError(f"on_error is 'raise' or 'return', not {quoted(on_error)}")
        self.name = name
        self.total = 0
        self.errors: dict[int, ClipserveError] = {}
        self._items = items
        self._on_error = on_error
        self._model: ModelRef | None = None
        self._texts = TextCheck()

    def chunks(
        self, info: ServerInfo, batch_size: int, max_items: Callable[[], int] | None = None
    ) -> Iterator[Chunk]:
        """The requests, in order, with at most `max_items()` items. Each is built when it is needed."""
        capacity = self.capacity(info, batch_size)
        for batch in split_items(self._messages(capacity, info), capacity, max_items):
            yield Chunk(self.request([item.value for item in batch]), [item.position for item in batch])

    @abstractmethod
    def capacity(self, info: ServerInfo, batch_size: int) -> Capacity:
        """How many items and bytes fit into one request."""

    @abstractmethod
    def write(self, item: Any, info: ServerInfo) -> tuple[Any, int]:
        """An item's message and its bytes. Raises ClipserveError if the server would refuse the item."""

    @abstractmethod
    def request(self, values: Sequence[Any]) -> Any:
        """The request for these messages."""

    @abstractmethod
    def add_response(self, chunk: Chunk, response: Any) -> None:
        """Adds the response to a chunk to the result."""

    @abstractmethod
    def outcome(self) -> R:
        """The result of all responses so far."""

    def add_failure(self, chunk: Chunk, error: ClipserveError) -> None:
        """Adds the error of a whole chunk of a stream; raises it with ``on_error="raise"``."""
        if self._on_error == "raise":
            raise error
        self.errors.update(dict.fromkeys(chunk.positions, error))

    def extra_seconds(self, chunk: Chunk) -> float:
        """Time added to the default timeout for a chunk."""
        return SECONDS_PER_ITEM * len(chunk.positions)

    def result(self) -> R:
        """The outcome; raises BatchError if items failed, with ``on_error="raise"``."""
        outcome = self.outcome()
        self.warn()
        if self.errors and self._on_error == "raise":
            raise BatchError(dict(sorted(self.errors.items())), self.total, outcome)
        return outcome

    def warn(self) -> None:
        """Gives the warnings of the call."""
        warn_of_texts(self._texts)

    def _messages(self, capacity: Capacity, info: ServerInfo) -> Iterator[Item]:
        for position, item in enumerate(self._items):
            self.total = position + 1
            try:
                value, byte_count = self.write(item, info)
                if byte_count > capacity.max_bytes:
                    raise LimitExceeded(f"{byte_count} bytes do not fit into one message", field=self.name)
            except ClipserveError as error:
                # Like the server's errors, the field is relative to the item.
                suffix = f".{error.field}" if error.field and error.field != self.name else ""
                error.field = f"{self.name}[{position}]{suffix}"
                error.violations = (Violation(error.field, error.message),)
                self.errors[position] = error
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"{self.name}[{position}]: {error}") from error
            else:
                yield Item(position, value, byte_count)

    def _check_model(self, message: common_pb2.ModelRef) -> ModelRef:
        """The model that answered; FingerprintMismatch if an earlier response came from another model."""
        model = read_model(message)
        if self._model is not None and model.fingerprint != self._model.fingerprint:
            raise FingerprintMismatch(
                f"model {model.name!r} changed during the call; repeat the call",
                metadata={"before": self._model.fingerprint, "now": model.fingerprint},
            )
        self._model = model
        return model
