"""Errors that only HTTP has, and every failure in the form of the Connect protocol."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import any_pb2, json_format
from google.rpc import status_pb2
from starlette.responses import Response

from clipserve_gateway.calls.runner import Outcome
from clipserve_gateway.convert.status import Code, internal_status, rpc_status
from clipserve_gateway.errors import ClipserveError, InvalidInput, LimitExceeded, NotSupported

HTTP_STATUS = {
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}
"""The statuses that the Connect protocol gives its codes."""


class BodyTooLarge(LimitExceeded):
    """The body has more bytes than allowed, as sent or after decompression."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the body has more than {limit} bytes; send less at a time, or use gRPC", limit=limit
        )


class UnsupportedMediaType(NotSupported):
    """The body is of a type that this path does not read."""

    def __init__(self, accepted: Sequence[str]) -> None:
        super().__init__(
            f"the content-type must be {' or '.join(accepted)}; its charset, if it has one, must be utf-8",
            field="content-type",
        )


class UnsupportedEncoding(NotSupported):
    """The body is compressed in an unknown way."""

    def __init__(self, accepted: Sequence[str]) -> None:
        super().__init__(f"the content-encoding must be {' or '.join(accepted)}", field="content-encoding")


def stands_twice(header: str) -> InvalidInput:
    """The error of a request that has a header more than once, so that it is unclear which one applies."""
    return InvalidInput(f"the request has the header {header} more than once; send it once", field=header)


OWN_STATUS: dict[type[ClipserveError], int] = {BodyTooLarge: 413, UnsupportedMediaType: 415}
"""Errors for which HTTP has a status of its own."""


def http_status(code: Code, failure: ClipserveError | None = None) -> int:
    """The status of a failed call."""
    return OWN_STATUS.get(type(failure), HTTP_STATUS[code]) if failure is not None else HTTP_STATUS[code]


def connect_code(code: Code) -> str:
    """The name that the Connect protocol gives a code."""
    return "canceled" if code is Code.CANCELLED else code.name.lower()


def status_of(outcome: Outcome) -> status_pb2.Status:
    """The message and details of a failed call."""
    return rpc_status(outcome.failure) if outcome.failure else internal_status()


def connect_error(code: Code, status: status_pb2.Status) -> bytes:
    """The Connect protocol's error object."""
    error: dict[str, Any] = {"code": connect_code(code), "message": status.message}
    if status.details:
        error["details"] = [_detail(detail) for detail in status.details]
    return json.dumps(error, ensure_ascii=False).encode()


def _detail(detail: any_pb2.Any) -> dict[str, Any]:
    content = json_format.MessageToDict(detail)
    del content["@type"]
    return {
        "type": detail.TypeName(),
        "value": base64.b64encode(detail.value).decode().rstrip("="),
        "debug": content,
    }


def failure_headers(outcome: Outcome) -> dict[str, str]:
    """Headers of a failed call: when to try again, and how to authenticate."""
    headers = {}
    retry_after = outcome.failure.retry_after if outcome.failure else None
    if retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(retry_after)))
        headers["retry-after-ms"] = str(int(retry_after * 1000))
    if outcome.code == Code.UNAUTHENTICATED.name:
        headers["www-authenticate"] = "Bearer"
    return headers


def refusal(error: ClipserveError, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a request that is no call of the API: another path or method."""
    rpc = rpc_status(error)
    return Response(connect_error(Code(rpc.code), rpc), status, headers, "application/json")
