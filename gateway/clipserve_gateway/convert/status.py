"""Maps the domain's errors to statuses: one table, for calls of any protocol and for items of batches."""

from __future__ import annotations

import enum

from clipserve.v1 import common_pb2
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from clipserve_gateway import errors

DOMAIN = "clipserve"
MAX_DESCRIPTION_BYTES = 1024
"""Statuses are sent in HTTP/2 headers, of which peers accept about 8 KB in total."""


class Code(enum.IntEnum):
    """The codes of google.rpc.Code that this gateway gives. gRPC and Connect have the same ones."""

    OK = code_pb2.OK
    CANCELLED = code_pb2.CANCELLED
    INVALID_ARGUMENT = code_pb2.INVALID_ARGUMENT
    DEADLINE_EXCEEDED = code_pb2.DEADLINE_EXCEEDED
    NOT_FOUND = code_pb2.NOT_FOUND
    ALREADY_EXISTS = code_pb2.ALREADY_EXISTS
    PERMISSION_DENIED = code_pb2.PERMISSION_DENIED
    RESOURCE_EXHAUSTED = code_pb2.RESOURCE_EXHAUSTED
    FAILED_PRECONDITION = code_pb2.FAILED_PRECONDITION
    ABORTED = code_pb2.ABORTED
    UNIMPLEMENTED = code_pb2.UNIMPLEMENTED
    INTERNAL = code_pb2.INTERNAL
    UNAVAILABLE = code_pb2.UNAVAILABLE
    UNAUTHENTICATED = code_pb2.UNAUTHENTICATED


CODES: dict[type[errors.ClipserveError], Code] = {
    errors.InvalidInput: Code.INVALID_ARGUMENT,
    errors.ModelNotFound: Code.NOT_FOUND,
    errors.CollectionNotFound: Code.NOT_FOUND,
    errors.AliasNotFound: Code.NOT_FOUND,
    errors.LabelSetNotFound: Code.NOT_FOUND,
    errors.PointNotFound: Code.NOT_FOUND,
    errors.CollectionHasAliases: Code.FAILED_PRECONDITION,
    errors.MigrationConflict: Code.FAILED_PRECONDITION,
    errors.SourcesNotKept: Code.FAILED_PRECONDITION,
    errors.Conflict: Code.ABORTED,
    errors.PointExists: Code.ALREADY_EXISTS,
    errors.CollectionExists: Code.ALREADY_EXISTS,
    errors.FingerprintMismatch: Code.FAILED_PRECONDITION,
    errors.DimensionMismatch: Code.FAILED_PRECONDITION,
    errors.Overloaded: Code.RESOURCE_EXHAUSTED,
    errors.Unauthenticated: Code.UNAUTHENTICATED,
    errors.PermissionDenied: Code.PERMISSION_DENIED,
    errors.ModelUnavailable: Code.UNAVAILABLE,
    errors.DeadlineExceeded: Code.DEADLINE_EXCEEDED,
    errors.NotSupported: Code.UNIMPLEMENTED,
    errors.InferenceFailed: Code.INTERNAL,
    errors.StorageFailed: Code.INTERNAL,
    errors.StoreNotWritable: Code.FAILED_PRECONDITION,
    errors.StorageUnavailable: Code.UNAVAILABLE,
}


CLASSES: dict[str, type[errors.ClipserveError]] = {
    kind.reason: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ClipserveError) and "reason" in vars(kind)
}
"""The class that declares each reason."""


def code_of(error: errors.ClipserveError) -> Code:
    """The status code of the error's class or of its nearest base class in CODES."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return Code.INTERNAL


def item_status(error: errors.ClipserveError | None, prefix: str = "") -> common_pb2.ItemStatus:
    """The status of one item; `prefix` is the item's path, e.g. ``images[3]``."""
    if error is None:
        return common_pb2.ItemStatus()
    located = error.at(prefix) if prefix else error
    return common_pb2.ItemStatus(
        code=code_of(error),
        reason=error.reason,
        field=clipped(located.field),
        message=clipped(error.message),
    )


def error_of(status: common_pb2.ItemStatus) -> errors.ClipserveError:
    """The error of an item's status, without metadata. Its class is that which declares the reason."""
    return CLASSES[status.reason](status.message, field=status.field)


def rpc_status(error: errors.ClipserveError) -> status_pb2.Status:
    """The status of a whole call with its details (AIP-193): ErrorInfo, BadRequest and RetryInfo."""
    status = status_pb2.Status(code=code_of(error), message=clipped(error.message))
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    )
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=clipped(error.field), description=clipped(error.message), reason=error.reason
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after * 1000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def internal_status() -> status_pb2.Status:
    """The status of an unexpected error: a fixed text, because the cause is for the log only."""
    status = status_pb2.Status(code=Code.INTERNAL, message="internal error; see the server's log")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN))
    return status


def trailers(
    status: status_pb2.Status, error: errors.ClipserveError | None
) -> tuple[tuple[str, str | bytes], ...]:
    """Trailing metadata with the details. gRPC's built-in retries use the push-back, not RetryInfo."""
    metadata: tuple[tuple[str, str | bytes], ...] = (("grpc-status-details-bin", status.SerializeToString()),)
    if error is not None and error.retry_after is not None:
        metadata += (("grpc-retry-pushback-ms", str(int(error.retry_after * 1000))),)
    return metadata


def clipped(text: str) -> str:
    """The text, cut to MAX_DESCRIPTION_BYTES."""
    if len(text.encode()) <= MAX_DESCRIPTION_BYTES:
        return text
    return text.encode()[: MAX_DESCRIPTION_BYTES - 4].decode(errors="ignore") + " …"
