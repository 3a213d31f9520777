"""What requests are put together from."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import Message

from testing.hostile.cases import Call

INVALID, LIMIT = "INVALID_INPUT", "LIMIT_EXCEEDED"
BAD, MISSING, REFUSED = "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"
GONE = "COLLECTION_NOT_FOUND"
HUGE, MEGABYTE = 2**31 - 1, "a" * 1_000_000

NAMES = {
    "no name": "",
    "a name of a megabyte": MEGABYTE,
    "a name with a NUL": "host\0ile",
    "a name of a query": "' OR '1'='1",
    "a name of a path": "../../etc/passwd",
    "a name of another case": "HOSTILE",
    "a name after a space": " hostile",
    "a name with a line end": "hostile\n",
    "a name in other letters": "hоstile",
    "a name of a key": "names/collection/hostile",
}
"""Names that nothing has."""


def call(
    name: str, method: str, make: Callable[[], Message], code: str, reason: str = "", field: str = ""
) -> Call:
    """A case of one request."""
    return Call(name, method, lambda: make().SerializeToString(), code, reason, field)


def of_points(
    method: str, name: str, field: str, reason: str, code: str, make: Callable[[], Message]
) -> Call:
    """A call of CollectionService."""
    return call(f"{method} {name}", f"CollectionService/{method}", make, code, reason, field)
