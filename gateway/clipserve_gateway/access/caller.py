"""Whose token a call shows, and what the caller may see."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass

from clipserve_gateway.access.grants import Grant


@dataclass(frozen=True)
class Caller:
    """The holder of a token.

    Attributes:
        digest: SHA-256 of the token; a long stream looks its grant up again by it.
        grant: what the token allowed at the last lookup.
    """

    digest: bytes
    grant: Grant


current: contextvars.ContextVar[Caller | None] = contextvars.ContextVar("caller", default=None)
"""The caller of the call being served; None outside of calls and on a gateway without tokens."""


EVERYTHING = Grant("")


def visible() -> Grant:
    """What the current caller may see: everything on a gateway without tokens."""
    caller = current.get()
    return EVERYTHING if caller is None else caller.grant
