"""What all operations share: headers and errors."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from clipserve_gateway.http_adapter.errors import HTTP_STATUS, connect_code
from clipserve_gateway.http_adapter.openapi.schemas import REFERENCE, Schema

SCHEMAS: dict[str, Schema] = {
    "Error": {
        "type": "object",
        "description": "The error object of the Connect protocol.",
        "required": ["code", "message", "details"],
        "properties": {
            "code": {"type": "string", "enum": [connect_code(code) for code in HTTP_STATUS]},
            "message": {"type": "string", "description": "One sentence for people."},
            "details": {"type": "array", "items": {"$ref": f"{REFERENCE}ErrorDetail"}},
        },
    },
    "ErrorDetail": {
        "type": "object",
        "description": "Every error has a `google.rpc.ErrorInfo` with a reason. Errors of invalid input also "
        "have a `google.rpc.BadRequest` with the paths of fields; errors of a busy server, a "
        "`google.rpc.RetryInfo` with a delay.",
        "required": ["type", "value", "debug"],
        "properties": {
            "type": {"type": "string", "description": "Name of the message, e.g. `google.rpc.ErrorInfo`."},
            "value": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "The message in protobuf's encoding.",
            },
            "debug": {"type": "object", "description": "The same message in JSON."},
        },
    },
}
PARAMETERS: dict[str, Any] = {
    "connect-timeout-ms": {
        "description": "Milliseconds that the caller waits. After this time, the server ends the call.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 9_999_999_999},
    },
    "x-request-id": {
        "description": "The call's name in the server's log, in ASCII. By default, the server chooses one.",
        "schema": {"type": "string", "maxLength": 128},
    },
    "x-clipserve-priority": {
        "description": "`bulk`: the call may wait for interactive ones.",
        "schema": {"type": "string", "enum": ["interactive", "bulk"], "default": "interactive"},
    },
}
"""Headers of requests, by name."""
HEADERS: dict[str, Any] = {
    "x-request-id": {
        "description": "Name of the call in the server's log.",
        "required": True,
        "schema": {"type": "string", "maxLength": 128},
    },
    "clipserve-timing": {
        "description": "Milliseconds of each stage, e.g. `decode;dur=1.5, encode;dur=12.0`.",
        "schema": {"type": "string"},
    },
}
"""Headers of answers, by name."""
RETRY_AFTER: dict[str, Any] = {
    "description": "Seconds after which the call may succeed.",
    "schema": {"type": "integer", "minimum": 1},
}
OWN_MEANING = {413: "the body is too large", 415: "the content type is not supported"}
"""HTTP statuses that say more than the code of the error."""


def reference(name: str) -> Schema:
    """A schema of the components."""
    return {"$ref": REFERENCE + name}


def parameters() -> list[dict[str, str]]:
    """The headers that every call may have."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in PARAMETERS]


def answer(description: str, schema: str) -> dict[str, Any]:
    """An answer in JSON with the headers that every answer has."""
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS},
        "content": {"application/json": {"schema": reference(schema)}},
    }


def error_answers(schema: str) -> dict[str, Any]:
    """The answers of failed calls, for the components: one for each class of HTTP statuses."""
    answers = {f"{schema}{kind}XX": answer(meanings(kind), schema) for kind in (4, 5)}
    for each in answers.values():
        each["headers"]["retry-after"] = RETRY_AFTER
    return answers


def meanings(kind: int) -> str:
    """The codes of each HTTP status, as a list. `kind`: first digit of the statuses."""
    codes: dict[int, list[str]] = defaultdict(list)
    for code, status in HTTP_STATUS.items():
        codes[status].append(f"`{connect_code(code)}`")
    texts = {status: " or ".join(each) for status, each in codes.items()} | OWN_MEANING
    lines = [f"- {status}: {text}" for status, text in sorted(texts.items()) if status // 100 == kind]
    return "\n".join(["The call failed:", "", *lines])


def errors(schema: str) -> dict[str, Any]:
    """The answers of failed calls, by class of HTTP statuses."""
    return {f"{kind}XX": {"$ref": f"#/components/responses/{schema}{kind}XX"} for kind in (4, 5)}
