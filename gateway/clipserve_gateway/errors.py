"""The errors of the domain.

Every error has a stable UPPER_SNAKE `reason`, the path of the invalid `field` (if any) and a sentence that
says what to do. convert/status.py maps the classes to status codes.
"""

from __future__ import annotations

import copy
from typing import TypeVar

Self = TypeVar("Self", bound="ClipserveError")


class ClipserveError(Exception):
    """Base of all errors that the gateway raises on purpose.

    Attributes:
        reason: stable UPPER_SNAKE name, the same for every instance of a class.
        message: one sentence for people.
        field: path of the invalid field, e.g. ``images[3].content``; empty if the error concerns no field.
        metadata: machine-readable facts, e.g. ``{"limit": "256"}``.
        detail: for the log only: addresses, paths, messages of other servers; may be empty.
    """

    reason = "INTERNAL"
    retry_after: float | None = None
    """Seconds after which a retry makes sense; None if unknown."""

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        metadata: dict[str, str] | None = None,
        detail: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.metadata = metadata or {}
        self.detail = detail
        self.retry_after = self.retry_after if retry_after is None else retry_after

    @property
    def logged(self) -> str:
        """The message with the detail, for the log."""
        return f"{self.message}: {self.detail}" if self.detail else self.message

    def at(self: Self, field: str) -> Self:
        """A copy whose field path is `field` followed by this error's own path."""
        if not field:
            return self
        own = f".{self.field}" if self.field and not self.field.startswith("[") else self.field
        located = copy.copy(self)
        located.field = field + own
        return located


class InvalidInput(ClipserveError):
    """A field of the request is not valid."""

    reason = "INVALID_INPUT"


class ImageError(InvalidInput):
    """An image is not valid."""

    reason = "IMAGE_INVALID"


class ImageUnreadable(ImageError):
    """The bytes are not an image, or the image is damaged."""

    reason = "IMAGE_UNREADABLE"


class ImageFormatUnsupported(ImageError):
    """The image format is not on the allow-list."""

    reason = "IMAGE_FORMAT_UNSUPPORTED"


class ImageTooLarge(ImageError):
    """The image exceeds the limit of bytes or pixels."""

    reason = "IMAGE_TOO_LARGE"


class LimitExceeded(InvalidInput):
    """The request exceeds a published limit of items, labels, prompts or bytes."""

    reason = "LIMIT_EXCEEDED"

    def __init__(self, message: str, *, field: str = "", limit: int | None = None, detail: str = "") -> None:
        """`limit` becomes the metadata."""
        metadata = None if limit is None else {"limit": str(limit)}
        super().__init__(message, field=field, metadata=metadata, detail=detail)


class InvalidEmbedding(InvalidInput):
    """An embedding is empty, zero, or has numbers that are not finite."""

    reason = "EMBEDDING_INVALID"


class InvalidFilter(InvalidInput):
    """A filter is malformed or does not match the collection's schema."""

    reason = "FILTER_INVALID"


class InvalidPayload(InvalidInput):
    """A payload is malformed or does not match the collection's schema."""

    reason = "PAYLOAD_INVALID"


class ModelNotFound(ClipserveError):
    """There is no model with this name."""

    reason = "MODEL_NOT_FOUND"


class CollectionNotFound(ClipserveError):
    """There is no collection or alias with this name."""

    reason = "COLLECTION_NOT_FOUND"


class AliasNotFound(ClipserveError):
    """There is no alias with this name."""

    reason = "ALIAS_NOT_FOUND"


class LabelSetNotFound(ClipserveError):
    """There is no label set with this name, or not in this version."""

    reason = "LABEL_SET_NOT_FOUND"


class PointNotFound(ClipserveError):
    """There is no point with this id."""

    reason = "POINT_NOT_FOUND"


class CollectionHasAliases(ClipserveError):
    """The collection cannot be deleted because aliases point to it."""

    reason = "COLLECTION_HAS_ALIASES"


class MigrationConflict(ClipserveError):
    """The state of the collection's migration does not allow the operation."""

    reason = "MIGRATION_CONFLICT"


class SourcesNotKept(ClipserveError):
    """The points cannot be embedded again: their sources are neither stored nor readable from a URI."""

    reason = "SOURCES_NOT_KEPT"


class Conflict(ClipserveError):
    """Another caller changed the same thing at the same time; it is safe to try again."""

    reason = "CONFLICT"


class TableNotFound(CollectionNotFound):
    """The table of a collection does not exist: it was dropped, or its migration has ended."""


class PointExists(ClipserveError):
    """The collection already has a point with the id of a point that must be new."""

    reason = "POINT_EXISTS"


class CollectionExists(ClipserveError):
    """A collection or alias with this name already exists."""

    reason = "COLLECTION_EXISTS"


class FingerprintMismatch(ClipserveError):
    """The embeddings come from another model than the collection's."""

    reason = "FINGERPRINT_MISMATCH"


class DimensionMismatch(ClipserveError):
    """The dimension of an embedding differs from the collection's."""

    reason = "DIMENSION_MISMATCH"


class Overloaded(ClipserveError):
    """The server has no capacity for this request now; it is safe to try again later."""

    reason = "OVERLOADED"
    retry_after = 0.5


class RateLimited(Overloaded):
    """The caller exceeded the rate of its token; it is safe to try again later."""

    reason = "RATE_LIMITED"


class Unauthenticated(ClipserveError):
    """The call has no token, or its token is not valid."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(ClipserveError):
    """The caller may not do this, or this server does not allow it."""

    reason = "PERMISSION_DENIED"


class ModelUnavailable(ClipserveError):
    """The inference server does not answer, or does not serve the model now."""

    reason = "MODEL_UNAVAILABLE"


class ModelLoading(ModelUnavailable):
    """The inference server is loading the model or another version of it; it is safe to try again."""

    retry_after = 1.0


class ServerUnavailable(ModelUnavailable):
    """The inference server does not answer, whatever the model."""


class DeadlineExceeded(ClipserveError):
    """The deadline passed before the work was done."""

    reason = "DEADLINE_EXCEEDED"


class NotSupported(ClipserveError):
    """The protocol of the call does not support it in this form."""

    reason = "NOT_SUPPORTED"


class InferenceFailed(ClipserveError):
    """The inference server answered with an error or with invalid embeddings."""

    reason = "INFERENCE_FAILED"


class StorageFailed(ClipserveError):
    """The engine could not read or write; no acknowledged write is lost."""

    reason = "STORAGE_FAILED"


class StorageRefused(StorageFailed):
    """The engine rejects this gateway: its credentials, permissions or release."""


class StoreNotWritable(ClipserveError):
    """The catalog and the tables do not match, so writes are refused; reads work."""

    reason = "STORE_NOT_WRITABLE"


class StorageUnavailable(ClipserveError):
    """The engine's server does not answer; it is safe to try again later."""

    reason = "STORAGE_UNAVAILABLE"


def concurrent_change(kind: str, name: str) -> Conflict:
    """The Conflict of an operation on, e.g., the collection `name` that lost to other writers too often."""
    return Conflict(f"{kind} {name!r} is being changed by other callers; try again")
