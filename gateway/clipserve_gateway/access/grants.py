"""What a token allows."""

from __future__ import annotations

import datetime as dt
import fnmatch
from dataclasses import dataclass

from clipserve_gateway.access.methods import RPCS
from clipserve_gateway.access.rate import Rate

ALL_COLLECTIONS = ("*",)
LONGEST_NAME = 64
"""No collection has a longer name, and no pattern need be tried on one."""


@dataclass(frozen=True)
class Grant:
    """What a token allows; by default everything, for ever.

    Attributes:
        name: the token's name, for logs and messages; it is no secret.
        methods: names of RPCs.
        collections: patterns in which `*` stands for any characters and `?` for one.
        rate: None does not limit it.
        expires: from this moment on it allows nothing.
    """

    name: str
    methods: frozenset[str] = frozenset(RPCS)
    collections: tuple[str, ...] = ALL_COLLECTIONS
    rate: Rate | None = None
    expires: dt.datetime | None = None

    @property
    def sees_all(self) -> bool:
        """Whether it is for all collections."""
        return "*" in self.collections

    def sees(self, name: str) -> bool:
        """Whether it is for the collection or alias of that name."""
        return self.sees_all or (
            len(name) <= LONGEST_NAME
            and any(fnmatch.fnmatchcase(name, pattern) for pattern in self.collections)
        )

    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and dt.datetime.now(dt.timezone.utc) >= self.expires
