"""What can go wrong, in the words of the domain.

Every error carries a stable UPPER_SNAKE `reason`, the path of the `field` at fault (if one is) and a
sentence that says what to do. How reasons become gRPC statuses is decided in one table, elsewhere.
"""

from __future__ import annotations

import copy
from typing import TypeVar

Self = TypeVar("Self", bound="ClipserveError")


class ClipserveError(Exception):
    """Base of every error this gateway raises on purpose.

    Attributes:
        reason: stable UPPER_SNAKE name, the same for every instance of a class.
        message: one sentence for people.
        field: path of the field at fault, e.g. ``images[3].content``; empty if none is.
        metadata: small facts for machines, e.g. ``{"limit": "256"}``.
        detail: what only the log may say: addresses, paths, and words of other servers; empty if nothing.
    """

    reason = "INTERNAL"
    retry_after: float | None = None
    """Seconds after which to try again, where that can be told."""

    def __init__(
        self, message: str, *, field: str = "", metadata: dict[str, str] | None = None, detail: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.metadata = metadata or {}
        self.detail = detail

    @property
    def logged(self) -> str:
        """The message as the log says it: with the detail."""
        return f"{self.message}: {self.detail}" if self.detail else self.message

    def at(self: Self, field: str) -> Self:
        """The same error, laid at the door of `field` (a prefix path that this error's own path follows)."""
        if not field:
            return self
        own = f".{self.field}" if self.field and not self.field.startswith("[") else self.field
        located = copy.copy(self)
        located.field = field + own
        return located


class InvalidInput(ClipserveError):
    """A field of the request cannot be accepted as it is."""

    reason = "INVALID_INPUT"


class ImageError(InvalidInput):
    """An image cannot be accepted."""

    reason = "IMAGE_INVALID"


class ImageUnreadable(ImageError):
    """Not an image, or a broken one."""

    reason = "IMAGE_UNREADABLE"


class ImageFormatUnsupported(ImageError):
    """An image of a format that is not on the allow-list."""

    reason = "IMAGE_FORMAT_UNSUPPORTED"


class ImageTooLarge(ImageError):
    """More bytes or more pixels than the limits allow."""

    reason = "IMAGE_TOO_LARGE"


class LimitExceeded(InvalidInput):
    """More items, labels, prompts or bytes than the published limits allow."""

    reason = "LIMIT_EXCEEDED"


class InvalidEmbedding(InvalidInput):
    """An embedding of the wrong length, not finite, or zero."""

    reason = "EMBEDDING_INVALID"


class InvalidFilter(InvalidInput):
    """A filter that does not fit the collection's schema, or is malformed."""

    reason = "FILTER_INVALID"


class InvalidPayload(InvalidInput):
    """A payload that does not fit the collection's schema, or is malformed."""

    reason = "PAYLOAD_INVALID"


class ModelNotFound(ClipserveError):
    """No model of that name."""

    reason = "MODEL_NOT_FOUND"


class CollectionNotFound(ClipserveError):
    """No collection of that name."""

    reason = "COLLECTION_NOT_FOUND"


class AliasNotFound(ClipserveError):
    """No alias of that name."""

    reason = "ALIAS_NOT_FOUND"


class LabelSetNotFound(ClipserveError):
    """No label set of that name, or not in that version."""

    reason = "LABEL_SET_NOT_FOUND"


class PointNotFound(ClipserveError):
    """No point of that id."""

    reason = "POINT_NOT_FOUND"


class CollectionHasAliases(ClipserveError):
    """The collection is what aliases mean, and cannot go before them."""

    reason = "COLLECTION_HAS_ALIASES"


class MigrationConflict(ClipserveError):
    """The collection's migration is not in a state that allows this."""

    reason = "MIGRATION_CONFLICT"


class SourcesNotKept(ClipserveError):
    """What would be embedded anew is neither kept nor to be read again."""

    reason = "SOURCES_NOT_KEPT"


class Conflict(ClipserveError):
    """Another writer came in between; it is safe to try again."""

    reason = "CONFLICT"


class TableNotFound(CollectionNotFound):
    """The table of a collection is gone: it was dropped, or its migration has ended."""


class PointExists(ClipserveError):
    """The collection has a point with the id of one that must be new."""

    reason = "POINT_EXISTS"


class CollectionExists(ClipserveError):
    """A collection of that name is there already."""

    reason = "COLLECTION_EXISTS"


class FingerprintMismatch(ClipserveError):
    """Embeddings of two different models would be compared."""

    reason = "FINGERPRINT_MISMATCH"


class DimensionMismatch(ClipserveError):
    """An embedding has another dimension than the collection."""

    reason = "DIMENSION_MISMATCH"


class Overloaded(ClipserveError):
    """There is no room for this request now; it is safe to try again later."""

    reason = "OVERLOADED"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        metadata: dict[str, str] | None = None,
        retry_after: float = 0.5,
    ) -> None:
        super().__init__(message, field=field, metadata=metadata)
        self.retry_after = retry_after


class RateLimited(Overloaded):
    """The caller asks for more than its token may have; it is safe to try again later."""

    reason = "RATE_LIMITED"


class Unauthenticated(ClipserveError):
    """The caller showed no token, or none that is accepted."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(ClipserveError):
    """This may not be done here, or not by this caller."""

    reason = "PERMISSION_DENIED"


class ModelUnavailable(ClipserveError):
    """The inference server does not answer, or does not serve this model now."""

    reason = "MODEL_UNAVAILABLE"


class ModelLoading(ModelUnavailable):
    """The inference server loads this model, or another version of it; it is safe to try again then."""

    retry_after = 1.0


class ServerUnavailable(ModelUnavailable):
    """The inference server itself does not answer, whatever the model."""


class DeadlineExceeded(ClipserveError):
    """The caller's time was over before the work was done."""

    reason = "DEADLINE_EXCEEDED"


class InferenceFailed(ClipserveError):
    """The inference server answered with an error, or with something that is no embedding."""

    reason = "INFERENCE_FAILED"


class StorageFailed(ClipserveError):
    """The index could not read or write; nothing that was acknowledged is lost."""

    reason = "STORAGE_FAILED"


class StorageRefused(StorageFailed):
    """The index answers, and refuses this gateway: its credentials, its rights or its release."""


class StoreNotWritable(ClipserveError):
    """The catalog does not account for the tables, so that nothing may be written; reads go on."""

    reason = "STORE_NOT_WRITABLE"


class StorageUnavailable(ClipserveError):
    """The index's server does not answer; it is safe to try again later."""

    reason = "STORAGE_UNAVAILABLE"
