"""Converts the status of calls and items into exceptions."""

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

ERRORS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClipserveError)
]
BY_CODE = {kind.code: kind for kind in ERRORS if "code" in vars(kind)}
BY_REASON = {kind.reason: kind for kind in ERRORS if vars(kind).get("reason")}


@dataclass(frozen=True)
class Failure:
    """A failed attempt of a call.

    Attributes:
        error: the exception for the caller if there is no other attempt.
        answered: whether a clipserve server refused the call; then the call changed nothing.
        may_retry: False if the server forbids another attempt.
    """

    error: ClipserveError
    answered: bool = False
    may_retry: bool = True


def error_class(code: str, reason: str) -> type[ClipserveError]:
    """The class of the reason if it has this code; else the class of the code."""
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
    """The failure of a call, from its status code, message and trailing metadata.

    `rebase` translates paths of the sent message into paths of the caller's arguments.
    """
    metadata = dict(trailers)
    info, violations, retry_after = read_details(metadata.get(DETAILS, b""))
    violations = tuple(Violation(rebase(v.field), v.description) for v in violations)
    pushback = read_pushback(metadata.get(PUSHBACK))
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
        request_id=str(metadata.get(REQUEST_ID, "")),
    )
    return Failure(error, answered=bool(info.reason), may_retry=pushback is None or pushback >= 0)


def read_details(
    packed: str | bytes,
) -> tuple[error_details_pb2.ErrorInfo, tuple[Violation, ...], float | None]:
    """ErrorInfo (empty if absent), the violations, and RetryInfo's delay in seconds."""
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
        # Ignored: details only refine the status code, and a proxy may have damaged them.
        pass
    return info, tuple(Violation(v.field, v.description) for v in bad.field_violations), retry_after


def read_pushback(value: str | bytes | None) -> float | None:
    """Seconds to wait; -1 if the server forbids another attempt or the value is not a number."""
    if value is None:
        return None
    try:
        milliseconds = int(value)
    except ValueError:
        return -1.0
    return milliseconds / 1000 if milliseconds >= 0 else -1.0


def read_item(status: common_pb2.ItemStatus, rebase: Callable[[str], str] = str) -> ClipserveError | None:
    """The error of one item of a batch; None if it succeeded."""
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
    """The name of a google.rpc.Code; UNKNOWN for other numbers."""
    return code_pb2.Code.Name(number) if number in code_pb2.Code.values() else "UNKNOWN"
