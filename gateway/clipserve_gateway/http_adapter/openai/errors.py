"""Errors in OpenAI's form."""

from __future__ import annotations

import json

from clipserve_gateway.convert.status import Code, internal_status
from clipserve_gateway.errors import ClipserveError

TYPES = {
    Code.INVALID_ARGUMENT: "invalid_request_error",
    Code.NOT_FOUND: "invalid_request_error",
    Code.FAILED_PRECONDITION: "invalid_request_error",
    Code.UNIMPLEMENTED: "invalid_request_error",
    Code.UNAUTHENTICATED: "authentication_error",
    Code.PERMISSION_DENIED: "permission_error",
    Code.RESOURCE_EXHAUSTED: "rate_limit_error",
}
"""OpenAI's types of errors; `server_error` for all other codes."""


def openai_error(code: Code, failure: ClipserveError | None, param: str = "") -> bytes:
    """OpenAI's error object, whose `code` is our reason. The message about one input begins with its place.

    Args:
        failure: None for an unexpected error.
        param: place of the bad field in the body, e.g. `input[3]`; empty for none.
    """
    message = failure.message if failure else internal_status().message
    if "[" in param and not message.startswith(param):
        message = f"{param}: {message}"
    error = {
        "message": message,
        "type": TYPES.get(code, "server_error"),
        "param": param or None,
        "code": failure.reason if failure else "INTERNAL",
    }
    return json.dumps({"error": error}, ensure_ascii=False).encode()
