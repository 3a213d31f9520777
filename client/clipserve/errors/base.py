"""The base of all exceptions, the error of a batch, and the warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipserve.safe_text import shortened


class InputWarning(UserWarning):
    """An argument looks like a mistake. The call continues."""


class LabelsWarning(InputWarning):
    """The model reads labels as the same text, or truncates them. The result's `warnings` lists them."""


@dataclass(frozen=True)
class Violation:
    """One problem of a request."""

    field: str
    """Path in the caller's own arguments, e.g. ``images[300].content``."""
    description: str


class ClipserveError(Exception):
    """Base of all exceptions that a server, the network or a file causes.

    Wrong Python types and array shapes raise TypeError and ValueError before anything is sent.

    Attributes:
        code: name of the gRPC status code, e.g. ``INVALID_ARGUMENT``.
        reason: stable UPPER_SNAKE name, e.g. ``IMAGE_UNREADABLE``; empty if the server sent none.
        message: one sentence for people.
        field: path of the invalid argument, with positions in the caller's own lists; empty if the error is
            not about one argument.
        violations: all problems that the server found, at most 16.
        metadata: details for programs, e.g. ``{"limit": "256"}``.
        retry_after: seconds to wait before the next attempt, if the server asks for a delay; else None.
        request_id: the call's id in the server's logs; empty if no answer arrived.
    """

    code = "UNKNOWN"
    reason = ""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        field: str = "",
        violations: tuple[Violation, ...] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        message = shortened(message)
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.reason = reason or self.reason
        self.field = field
        self.violations = violations
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, reason={self.reason!r}, field={self.field!r})"


class BatchError(ClipserveError):
    """Some items of a batch failed; the others were processed.

    Attributes:
        errors: the error of each failed item, by its position in the caller's list.
        total: number of items.
        result: the return value of the same call with ``on_error="return"``.
    """

    def __init__(self, errors: Mapping[int, ClipserveError], total: int, result: object) -> None:
        first = next(iter(errors.values()))
        more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
        super().__init__(
            f"{len(errors)} of {total} items failed: {first}{more}", code=first.code, reason=first.reason
        )
        self.errors = dict(errors)
        self.total = total
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errors, self.total, self.result)
