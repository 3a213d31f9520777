"""Errors of a request: its content, what it names, or the state of what it names."""

from __future__ import annotations

from clipserve.errors.base import ClipserveError


class InvalidArgument(ClipserveError):
    """The content of the request is invalid. Sending it again does not help."""

    code = "INVALID_ARGUMENT"


class InvalidInput(InvalidArgument):
    """A field of the request is missing, malformed or out of range."""

    reason = "INVALID_INPUT"


class ImageError(InvalidArgument):
    """The server does not accept an image."""

    reason = "IMAGE_INVALID"


class ImageUnreadable(ImageError):
    """The data is not an image or is damaged, or its file cannot be read."""

    reason = "IMAGE_UNREADABLE"


class ImageFormatUnsupported(ImageError):
    """The server does not support the format of an image."""

    reason = "IMAGE_FORMAT_UNSUPPORTED"


class ImageTooLarge(ImageError):
    """An image has more bytes or pixels than the server allows."""

    reason = "IMAGE_TOO_LARGE"


class LimitExceeded(InvalidArgument):
    """The request has more items, labels, prompts or bytes than the server allows."""

    reason = "LIMIT_EXCEEDED"


class InvalidEmbedding(InvalidArgument):
    """An embedding has the wrong length, is not finite, or is zero."""

    reason = "EMBEDDING_INVALID"


class InvalidFilter(InvalidArgument):
    """A filter does not match the collection's schema."""

    reason = "FILTER_INVALID"


class InvalidPayload(InvalidArgument):
    """A payload does not match the collection's schema."""

    reason = "PAYLOAD_INVALID"


class NotFound(ClipserveError):
    """The request names an object that does not exist."""

    code = "NOT_FOUND"


class ModelNotFound(NotFound):
    """No model has this name."""

    reason = "MODEL_NOT_FOUND"


class CollectionNotFound(NotFound):
    """No collection has this name."""

    reason = "COLLECTION_NOT_FOUND"


class AliasNotFound(NotFound):
    """No alias has this name."""

    reason = "ALIAS_NOT_FOUND"


class LabelSetNotFound(NotFound):
    """No stored label set has this name, or it does not have this version."""

    reason = "LABEL_SET_NOT_FOUND"


class PointNotFound(NotFound):
    """No point has this id."""

    reason = "POINT_NOT_FOUND"


class AlreadyExists(ClipserveError):
    """The object to create already exists."""

    code = "ALREADY_EXISTS"


class PointExists(AlreadyExists):
    """The collection already has a point with this id, and the request requires a new one."""

    reason = "POINT_EXISTS"


class CollectionExists(AlreadyExists):
    """A collection with this name already exists."""

    reason = "COLLECTION_EXISTS"


class FailedPrecondition(ClipserveError):
    """The current state of the server or of an object does not allow the request."""

    code = "FAILED_PRECONDITION"


class FingerprintMismatch(FailedPrecondition):
    """The request would compare embeddings of two different models."""

    reason = "FINGERPRINT_MISMATCH"


class DimensionMismatch(FailedPrecondition):
    """An embedding and the collection have different dimensions."""

    reason = "DIMENSION_MISMATCH"


class CollectionHasAliases(FailedPrecondition):
    """Aliases point to the collection. Delete the aliases or point them to another collection first."""

    reason = "COLLECTION_HAS_ALIASES"


class MigrationConflict(FailedPrecondition):
    """The state of the collection's migration does not allow this."""

    reason = "MIGRATION_CONFLICT"


class StoreNotWritable(FailedPrecondition):
    """The server's catalog does not match its tables. Reads work; writes are refused."""

    reason = "STORE_NOT_WRITABLE"


class SourcesNotKept(FailedPrecondition):
    """The sources of the points are neither stored nor readable again."""

    reason = "SOURCES_NOT_KEPT"


class ClientNotUsable(FailedPrecondition):
    """The client was closed, or its process was forked during a call. Nothing was sent."""

    reason = "CLIENT_CLOSED"


class Unauthenticated(ClipserveError):
    """The server requires a token, or does not accept this one."""

    code = "UNAUTHENTICATED"
    reason = "UNAUTHENTICATED"


class PermissionDenied(ClipserveError):
    """The token does not permit this, or the server permits it to no one.

    `metadata` names the method, collection or setting.
    """

    code = "PERMISSION_DENIED"
    reason = "PERMISSION_DENIED"
