"""Pagination of lists: page size and page tokens."""

from __future__ import annotations

import base64
import binascii
from typing import Protocol

from clipserve_gateway.errors import InvalidInput

DEFAULT_PAGE, MAX_PAGE = 100, 1_000
MAX_TOKEN_BYTES = 1_024
"""The token of the longest id (512 bytes, in base64) has 684 bytes."""


class PageRequest(Protocol):
    """The fields of every paginated request."""

    page_size: int
    page_token: str


def read_page(request: PageRequest, max_size: int = MAX_PAGE) -> tuple[str, int]:
    """The name or id after which the page begins, and the page size."""
    if request.page_size < 0:
        raise InvalidInput("page_size must not be negative", field="page_size")
    if len(request.page_token) > MAX_TOKEN_BYTES:
        raise InvalidInput(
            f"page_token has more than {MAX_TOKEN_BYTES} bytes; send the next_page_token of the page before",
            field="page_token",
        )
    try:
        after = base64.b64decode(request.page_token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidInput(
            "page_token is not valid; send the next_page_token of the page before, or none",
            field="page_token",
        ) from None
    return after, min(request.page_size or DEFAULT_PAGE, max_size)


def write_page_token(last: str) -> str:
    """The token of the page that begins after the name or id `last`."""
    return base64.urlsafe_b64encode(last.encode()).decode()
