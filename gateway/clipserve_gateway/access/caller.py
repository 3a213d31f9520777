"""The caller of the call that is being served."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass

from clipserve_gateway.access.grants import Grant, Named


@dataclass(frozen=True)
class Caller:
    """Who calls, with which token.

    Attributes:
        digest: of the token, by which a long call finds out that it was withdrawn.
        grant: what the token allowed when it was last looked up.
        method: name of the RPC that was called.
        streaming: whether its requests come as a stream.
    """

    digest: bytes
    grant: Grant
    method: str = ""
    streaming: bool = False


current: contextvars.ContextVar[Caller | None] = contextvars.ContextVar("caller", default=None)
"""None where no tokens are asked for, and outside of calls."""


class CallerView:
    """What the caller may know of: everything where no tokens are asked for."""

    def name(self, name: str) -> bool:
        """Whether the caller may know of the collection or alias, as far as its name decides."""
        caller = current.get()
        return caller is None or caller.grant.sees(name)

    def collection(self, collection: Named) -> bool:
        """Whether the caller may know of the collection."""
        caller = current.get()
        return caller is None or caller.grant.sees_collection(collection)

    def label_set(self, name: str) -> bool:
        """Whether the caller may know of the label set of that name."""
        caller = current.get()
        return caller is None or caller.grant.sees_label_set(name)

    def model(self, name: str) -> bool:
        """Whether the caller may know of the model of that name."""
        caller = current.get()
        return caller is None or caller.grant.sees_model(name)


visible = CallerView()
