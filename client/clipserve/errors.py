"""What can go wrong, as exceptions.

Each carries the server's code, reason, field, violations and metadata. `except InvalidArgument` catches all
that the server found wrong with a request, `except ImageUnreadable` just that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipserve.safe_text import shortened


class InputWarning(UserWarning):
    """Something in a call is probably not what was meant; the call goes on."""


class LabelsWarning(InputWarning):
    """Labels are the same text to the model, or lose their end; the result's `warnings` say which."""


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong with a request."""

    field: str
    """Path in the caller's own arguments, e.g. ``images[300].content``."""
    description: str


class ClipserveError(Exception):
    """Base of everything this package raises for what a server, the network or a file did.

    Wrong Python types and array shapes raise TypeError and ValueError instead, before anything is sent.

    Attributes:
        code: name of the gRPC status code, e.g. ``INVALID_ARGUMENT``.
        reason: stable UPPER_SNAKE name, e.g. ``IMAGE_UNREADABLE``; empty if the server gave none.
        message: one sentence for people.
        field: path of the argument at fault, counted in the caller's own lists; empty if there is none.
        violations: everything the server found wrong, at most 16.
        metadata: small facts for machines, e.g. ``{"limit": "256"}``.
        retry_after: seconds the server asks to wait before trying again, or None.
        request_id: the server's name for the call in its logs; empty if there was no answer.
    """

    code = "UNKNOWN"
    reason = ""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        field: str = "",
        violations: tuple[Violation, ...] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        message = shortened(message)
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.reason = reason or self.reason
        self.field = field
        self.violations = violations
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, reason={self.reason!r}, field={self.field!r})"


class InvalidArgument(ClipserveError):
    """The request cannot be accepted as it is; sending it again will not help."""

    code = "INVALID_ARGUMENT"


class InvalidInput(InvalidArgument):
    """A field of the request is missing, malformed or out of range."""

    reason = "INVALID_INPUT"


class ImageError(InvalidArgument):
    """An image cannot be accepted."""

    reason = "IMAGE_INVALID"


class ImageUnreadable(ImageError):
    """Not an image, a broken one, or a file that cannot be read."""

    reason = "IMAGE_UNREADABLE"


class ImageFormatUnsupported(ImageError):
    """An image of a format that the server does not take."""

    reason = "IMAGE_FORMAT_UNSUPPORTED"


class ImageTooLarge(ImageError):
    """More bytes or pixels than the server takes."""

    reason = "IMAGE_TOO_LARGE"


class LimitExceeded(InvalidArgument):
    """More items, labels, prompts or bytes than the server's limits allow."""

    reason = "LIMIT_EXCEEDED"


class InvalidEmbedding(InvalidArgument):
    """An embedding of the wrong length, not finite, or zero."""

    reason = "EMBEDDING_INVALID"


class InvalidFilter(InvalidArgument):
    """A filter that does not fit the collection's schema."""

    reason = "FILTER_INVALID"


class InvalidPayload(InvalidArgument):
    """A payload that does not fit the collection's schema."""

    reason = "PAYLOAD_INVALID"


class NotFound(ClipserveError):
    """What the request names does not exist."""

    code = "NOT_FOUND"


class ModelNotFound(NotFound):
    """No model of that name."""

    reason = "MODEL_NOT_FOUND"


class CollectionNotFound(NotFound):
    """No collection of that name."""

    reason = "COLLECTION_NOT_FOUND"


class AliasNotFound(NotFound):
    """No alias of that name."""

    reason = "ALIAS_NOT_FOUND"


class LabelSetNotFound(NotFound):
    """No stored label set of that name, or not in that version."""

    reason = "LABEL_SET_NOT_FOUND"


class PointNotFound(NotFound):
    """No point of that id."""

    reason = "POINT_NOT_FOUND"


class AlreadyExists(ClipserveError):
    """What the request would make is there already."""

    code = "ALREADY_EXISTS"


class PointExists(AlreadyExists):
    """The collection has a point with the id of one that must be new."""

    reason = "POINT_EXISTS"


class CollectionExists(AlreadyExists):
    """A collection of that name is there already."""

    reason = "COLLECTION_EXISTS"


class FailedPrecondition(ClipserveError):
    """The request does not fit the state of what it is about."""

    code = "FAILED_PRECONDITION"


class FingerprintMismatch(FailedPrecondition):
    """Embeddings of two different models would be compared."""

    reason = "FINGERPRINT_MISMATCH"


class DimensionMismatch(FailedPrecondition):
    """An embedding has another dimension than the collection."""

    reason = "DIMENSION_MISMATCH"


class CollectionHasAliases(FailedPrecondition):
    """The collection is what aliases mean; delete these first, or let them mean another."""

    reason = "COLLECTION_HAS_ALIASES"


class MigrationConflict(FailedPrecondition):
    """The collection's migration is not in a state that allows this."""

    reason = "MIGRATION_CONFLICT"


class StoreNotWritable(FailedPrecondition):
    """The server's catalog does not account for its tables: nothing is written, reads go on."""

    reason = "STORE_NOT_WRITABLE"


class SourcesNotKept(FailedPrecondition):
    """What the points were made of is neither kept nor to be read again."""

    reason = "SOURCES_NOT_KEPT"


class Conflict(ClipserveError):
    """Another writer came in between and nothing was changed; it is safe to repeat the call."""

    code = "ABORTED"
    reason = "CONFLICT"


class ResourceExhausted(ClipserveError):
    """Over a limit that waiting does not lift, such as the size of a message."""

    code = "RESOURCE_EXHAUSTED"


class Overloaded(ResourceExhausted):
    """The server has no room now; `retry_after` says when to try again."""

    reason = "OVERLOADED"


class RateLimited(Overloaded):
    """This token asks for more items a second than it may have; `retry_after` says when to try again."""

    reason = "RATE_LIMITED"


class Unavailable(ClipserveError):
    """The server cannot be reached or takes no calls now; it is safe to try again."""

    code = "UNAVAILABLE"


class ModelUnavailable(Unavailable):
    """The gateway answers, but its inference server does not serve the model now."""

    reason = "MODEL_UNAVAILABLE"


class StorageUnavailable(Unavailable):
    """The gateway answers, but cannot reach its index engine now."""

    reason = "STORAGE_UNAVAILABLE"


class DeadlineExceeded(ClipserveError):
    """The time allowed was over before the answer came; pass a larger `timeout`."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"


class Unauthenticated(ClipserveError):
    """The server wants a token, or does not accept this one."""

    code = "UNAUTHENTICATED"
    reason = "UNAUTHENTICATED"


class PermissionDenied(ClipserveError):
    """This token may not do that, or nobody may; `metadata` names the method, collection or setting."""

    code = "PERMISSION_DENIED"
    reason = "PERMISSION_DENIED"


class Cancelled(ClipserveError):
    """The call was cancelled before it ended."""

    code = "CANCELLED"


class Unimplemented(ClipserveError):
    """The server does not know this call: it is older than this client, or another service."""

    code = "UNIMPLEMENTED"


class ClientNotUsable(FailedPrecondition):
    """The client was closed, or its process was forked from one that was in a call: nothing was sent."""

    reason = "CLIENT_CLOSED"


class InternalError(ClipserveError):
    """The server failed; its log says more under `request_id`."""

    code = "INTERNAL"


class InferenceFailed(InternalError):
    """The inference server answered with an error."""

    reason = "INFERENCE_FAILED"


class StorageFailed(InternalError):
    """The index could not read or write; nothing that was acknowledged is lost."""

    reason = "STORAGE_FAILED"


class BatchError(ClipserveError):
    """Some items of a batch failed; the others were answered.

    Attributes:
        errors: what went wrong, by the item's position in the caller's list.
        total: how many items there were.
        result: what the call would have returned with ``on_error="return"``.
    """

    code = "UNKNOWN"

    def __init__(self, errors: Mapping[int, ClipserveError], total: int, result: object) -> None:
        first = next(iter(errors.values()))
        more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
        super().__init__(
            f"{len(errors)} of {total} items failed: {first}{more}", code=first.code, reason=first.reason
        )
        self.errors = dict(errors)
        self.total = total
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors, self.total, self.result)
