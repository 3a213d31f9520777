"""Maps the domain's errors to gRPC statuses: one table, for calls and for items of batches."""

from __future__ import annotations

import grpc
from clipserve.v1 import common_pb2
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from clipserve_gateway import errors

DOMAIN = "clipserve"
MAX_DESCRIPTION_BYTES = 1024
"""Statuses are sent in HTTP/2 headers, of which peers accept about 8 KB in total."""

CODES: dict[type[errors.ClipserveError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ModelNotFound: grpc.StatusCode.NOT_FOUND,
    errors.CollectionNotFound: grpc.StatusCode.NOT_FOUND,
    errors.AliasNotFound: grpc.StatusCode.NOT_FOUND,
    errors.LabelSetNotFound: grpc.StatusCode.NOT_FOUND,
    errors.PointNotFound: grpc.StatusCode.NOT_FOUND,
    errors.CollectionHasAliases: grpc.StatusCode.FAILED_PRECONDITION,
    errors.MigrationConflict: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SourcesNotKept: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.PointExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.CollectionExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FingerprintMismatch: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DimensionMismatch: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.ModelUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.InferenceFailed: grpc.StatusCode.INTERNAL,
    errors.StorageFailed: grpc.StatusCode.INTERNAL,
    errors.StoreNotWritable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StorageUnavailable: grpc.StatusCode.UNAVAILABLE,
}


def code_of(error: errors.ClipserveError) -> grpc.StatusCode:
    """The status code of the error's class or of its nearest base class in CODES."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return grpc.StatusCode.INTERNAL


def item_status(error: errors.ClipserveError | None, prefix: str = "") -> common_pb2.ItemStatus:
    """The status of one item; `prefix` is the item's path, e.g. ``images[3]``."""
    if error is None:
        return common_pb2.ItemStatus()
    located = error.at(prefix) if prefix else error
    return common_pb2.ItemStatus(
        code=code_of(error).value[0],
        reason=error.reason,
        field=clipped(located.field),
        message=clipped(error.message),
    )


def rpc_status(error: errors.ClipserveError) -> status_pb2.Status:
    """The status of a whole call with its details (AIP-193): ErrorInfo, BadRequest and RetryInfo."""
    status = status_pb2.Status(code=code_of(error).value[0], message=clipped(error.message))
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
    status = status_pb2.Status(code=code_pb2.INTERNAL, message="internal error; see the server's log")
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
