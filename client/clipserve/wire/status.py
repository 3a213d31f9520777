"""From what a server answers to exceptions: one table of reasons, one of codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from clipserve import errors
from clipserve.errors import ClipserveError, Violation
from clipserve.v1 import common_pb2

DETAILS = "grpc-status-details-bin"
PUSHBACK = "grpc-retry-pushback-ms"
REQUEST_ID = "x-request-id"

BY_CODE: dict[str, type[ClipserveError]] = {
    kind.code: kind
    for kind in (
        errors.InvalidArgument,
        errors.NotFound,
        errors.AlreadyExists,
        errors.FailedPrecondition,
        errors.Conflict,
        errors.ResourceExhausted,
        errors.Unavailable,
        errors.DeadlineExceeded,
        errors.Unauthenticated,
        errors.PermissionDenied,
        errors.Cancelled,
        errors.Unimplemented,
        errors.InternalError,
    )
}
BY_REASON: dict[str, type[ClipserveError]] = {
    kind.reason: kind
    for kind in (
        errors.InvalidInput,
        errors.ImageError,
        errors.ImageUnreadable,
        errors.ImageFormatUnsupported,
        errors.ImageTooLarge,
        errors.LimitExceeded,
        errors.InvalidEmbedding,
        errors.InvalidFilter,
        errors.InvalidPayload,
        errors.ModelNotFound,
        errors.CollectionNotFound,
        errors.AliasNotFound,
        errors.LabelSetNotFound,
        errors.PointNotFound,
        errors.CollectionExists,
        errors.PointExists,
        errors.CollectionHasAliases,
        errors.MigrationConflict,
        errors.SourcesNotKept,
        errors.StoreNotWritable,
        errors.Conflict,
        errors.FingerprintMismatch,
        errors.DimensionMismatch,
        errors.Overloaded,
        errors.RateLimited,
        errors.Unauthenticated,
        errors.PermissionDenied,
        errors.ModelUnavailable,
        errors.StorageUnavailable,
        errors.DeadlineExceeded,
        errors.InferenceFailed,
        errors.StorageFailed,
    )
}


@dataclass(frozen=True)
class Failure:
    """How one attempt at a call ended.

    Attributes:
        error: what the caller gets to see if no further attempt is made.
        answered: whether a clipserve server refused the call on purpose; then it changed nothing.
        may_retry: False where the server forbids another attempt.
    """

    error: ClipserveError
    answered: bool = False
    may_retry: bool = True


def error_class(code: str, reason: str) -> type[ClipserveError]:
    """The class for a reason, as long as it fits the code; else the class for the code."""
    kind = BY_REASON.get(reason)
    if kind is not None and kind.code == code:
        return kind
    return BY_CODE.get(code, ClipserveError)


def read_failure(
    code: str,
    message: str,
    trailers: Iterable[tuple[str, str | bytes]],
    rebase: Callable[[str], str] = str,
) -> Failure:
    """What a call's status code, message and trailing metadata say.

    `rebase` turns the paths of the message that was sent into paths of the caller's own arguments.
    """
    found = dict(trailers)
    info, violations, retry_after = read_details(found.get(DETAILS, b""))
    violations = tuple(Violation(rebase(v.field), v.description) for v in violations)
    pushback = read_pushback(found.get(PUSHBACK))
    if retry_after is None and pushback is not None and pushback >= 0:
        retry_after = pushback
    error = error_class(code, info.reason)(
        message or code,
        code=code,
        reason=info.reason,
        field=violations[0].field if violations else "",
        violations=violations,
        metadata=info.metadata,
        retry_after=retry_after,
        request_id=str(found.get(REQUEST_ID, "")),
    )
    return Failure(error, answered=bool(info.reason), may_retry=pushback is None or pushback >= 0)


def read_details(
    packed: str | bytes,
) -> tuple[error_details_pb2.ErrorInfo, tuple[Violation, ...], float | None]:
    """ErrorInfo (empty if there is none), the violations, and RetryInfo's delay in seconds."""
    info, retry_after = error_details_pb2.ErrorInfo(), None
    bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    try:
        details = status_pb2.Status.FromString(packed if isinstance(packed, bytes) else b"").details
        for detail in details:
            if detail.Is(retry.DESCRIPTOR) and detail.Unpack(retry):
                retry_after = max(0.0, retry.retry_delay.ToTimedelta().total_seconds())
            elif detail.Is(bad.DESCRIPTOR):
                detail.Unpack(bad)
            elif detail.Is(info.DESCRIPTOR):
                detail.Unpack(info)
    except (DecodeError, ValueError, OverflowError):
        # Details only refine what the status code says; a proxy may have mangled them.
        pass
    return info, tuple(Violation(v.field, v.description) for v in bad.field_violations), retry_after


def read_pushback(value: str | bytes | None) -> float | None:
    """Seconds to wait; -1 if no further attempt is wanted (also where the value is no number)."""
    if value is None:
        return None
    try:
        milliseconds = int(value)
    except ValueError:
        return -1.0
    return milliseconds / 1000 if milliseconds >= 0 else -1.0


def read_item(status: common_pb2.ItemStatus, rebase: Callable[[str], str] = str) -> ClipserveError | None:
    """The error of one item of a batch; None if it is OK."""
    if status.code == code_pb2.OK:
        return None
    code = code_name(status.code)
    field = rebase(status.field)
    return error_class(code, status.reason)(
        status.message or code,
        code=code,
        reason=status.reason,
        field=field,
        violations=(Violation(field, status.message),) if field else (),
    )


def code_name(number: int) -> str:
    """The name of a google.rpc.Code; UNKNOWN for numbers that are none."""
    return code_pb2.Code.Name(number) if number in code_pb2.Code.values() else "UNKNOWN"
