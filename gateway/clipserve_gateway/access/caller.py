"""Whose token a call shows, and what the caller may see."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass

from clipserve_gateway.access.grants import Grant
from clipserve_gateway.collection.spec import CollectionSpec


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


class CallerView:
    """What the current caller may see: everything on a gateway without tokens."""

    def name(self, name: str) -> bool:
        """Whether the caller's token matches the name of a collection or alias."""
        caller = current.get()
        return caller is None or caller.grant.sees(name)

    def collection(self, collection: CollectionSpec) -> bool:
        """Whether the caller may see the collection."""
        caller = current.get()
        return caller is None or caller.grant.sees_collection(collection)

    def label_set(self, name: str) -> bool:
        """Whether the caller may see the label set of that name."""
        caller = current.get()
        return caller is None or caller.grant.sees_label_set(name)

    def model(self, name: str) -> bool:
        """Whether the caller may see the model of that name."""
        caller = current.get()
        return caller is None or caller.grant.sees_model(name)


visible = CallerView()
