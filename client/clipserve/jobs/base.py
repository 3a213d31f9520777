"""One class for each call that takes a list: which requests to send, and what their answers add up to.

A job neither sends nor waits. A client asks it for its `chunks`, has each answered (a few at a time), hands
the answers back to `take` in order, and returns `result`. Sync and async clients differ only in the middle.
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
from clipserve.messages.requests import Chunk, Item, Room, cut
from clipserve.messages.responses import read_model
from clipserve.safe_text import quoted
from clipserve.types import ModelRef, ServerInfo
from clipserve.v1 import common_pb2

R = TypeVar("R")
OnError: TypeAlias = Literal["raise", "return"]

SECONDS_PER_ITEM = 0.5
"""Added to the default timeout: a large model on a few cores takes that long for a picture."""


@dataclass(frozen=True)
class StreamMethod:
    """The streaming twin of a method; its messages have the fields `batch_id` and `request`."""

    name: str
    message: type[Message]


class Job(ABC, Generic[R]):
    """A call over a list of items.

    Attributes:
        method: name of the RPC.
        total: items seen so far.
        errors: what went wrong, by position.
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
        self, info: ServerInfo, batch_size: int, most: Callable[[], int] | None = None
    ) -> Iterator[Chunk]:
        """The requests, in order; each is built when it is asked for, with `most()` items at most."""
        room = self.room(info, batch_size)
        for batch in cut(self._written(room, info), room, most):
            yield Chunk(self.request([item.value for item in batch]), [item.position for item in batch])

    @abstractmethod
    def room(self, info: ServerInfo, batch_size: int) -> Room:
        """What one request can hold."""

    @abstractmethod
    def write(self, item: Any, info: ServerInfo) -> tuple[Any, int]:
        """An item's message and its size in bytes; raises ClipserveError if the server would refuse it."""

    @abstractmethod
    def request(self, values: Sequence[Any]) -> Any:
        """The request for some items."""

    @abstractmethod
    def take(self, chunk: Chunk, response: Any) -> None:
        """Notes the answer to a chunk."""

    @abstractmethod
    def outcome(self) -> R:
        """What the answers add up to."""

    def fail(self, chunk: Chunk, error: ClipserveError) -> None:
        """Notes that a whole chunk was refused, as happens on a stream; raises if the caller wants that."""
        if self._on_error == "raise":
            raise error
        self.errors.update(dict.fromkeys(chunk.positions, error))

    def extra_seconds(self, chunk: Chunk) -> float:
        """What a chunk may take beyond the time of a small call."""
        return SECONDS_PER_ITEM * len(chunk.positions)

    def result(self) -> R:
        """The outcome; raises BatchError if items failed and the caller wants that raised."""
        outcome = self.outcome()
        self.warn()
        if self.errors and self._on_error == "raise":
            raise BatchError(dict(sorted(self.errors.items())), self.total, outcome)
        return outcome

    def warn(self) -> None:
        """Gives the warnings of the call."""
        warn_of_texts(self._texts)

    def _written(self, room: Room, info: ServerInfo) -> Iterator[Item]:
        for position, item in enumerate(self._items):
            self.total = position + 1
            try:
                value, size = self.write(item, info)
                if not room.fits(size):
                    raise LimitExceeded(f"{size} bytes do not fit into one message", field=self.name)
            except ClipserveError as error:
                # The server names the field below the item; so does this.
                suffix = f".{error.field}" if error.field and error.field != self.name else ""
                error.field = f"{self.name}[{position}]{suffix}"
                error.violations = (Violation(error.field, error.message),)
                self.errors[position] = error
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"{self.name}[{position}]: {error}") from error
            else:
                yield Item(position, value, size)

    def _note_model(self, model: common_pb2.ModelRef) -> ModelRef:
        """The model that answered; FingerprintMismatch if it is another one than before."""
        found = read_model(model)
        if self._model is not None and found.fingerprint != self._model.fingerprint:
            raise FingerprintMismatch(
                f"model {found.name!r} changed while the call was under way; start it again",
                metadata={"before": self._model.fingerprint, "now": found.fingerprint},
            )
        self._model = found
        return found
