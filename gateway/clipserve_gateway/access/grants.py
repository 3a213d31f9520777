"""What a token allows."""

from __future__ import annotations

import datetime as dt
import fnmatch
from dataclasses import dataclass
from typing import Protocol

from clipserve_gateway.access.methods import RPCS
from clipserve_gateway.access.rate import Rate

ALL_NAMES = ("*",)
LONGEST_COLLECTION = 64
"""Characters. No collection or alias has a longer name, and no pattern need be tried on one."""
LONGEST_NAME = 256
"""The same of label sets (at most 128) and models."""


class Named(Protocol):
    """A collection."""

    @property
    def name(self) -> str:
        """Its own name, not an alias."""
        ...

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models whose embeddings it holds."""
        ...


@dataclass(frozen=True)
class Grant:
    """What a token allows; by default everything, for ever.

    Attributes:
        name: the token's name, for logs and messages; it is no secret.
        methods: names of RPCs.
        collections: patterns of names, in which `*` stands for any characters and `?` for one.
        labels: the same of label sets.
        models: the same of models.
        rate: None does not limit it.
        calls: that may be under way at a time; 0 leaves that to the server.
        streams: the same of streams among them.
        expires: from this moment on it allows nothing.
    """

    name: str
    methods: frozenset[str] = frozenset(RPCS)
    collections: tuple[str, ...] = ALL_NAMES
    labels: tuple[str, ...] = ALL_NAMES
    models: tuple[str, ...] = ALL_NAMES
    rate: Rate | None = None
    calls: int = 0
    streams: int = 0
    expires: dt.datetime | None = None

    @property
    def sees_all(self) -> bool:
        """Whether it is for all collections, of all models."""
        return "*" in self.collections and "*" in self.models

    def sees(self, name: str) -> bool:
        """Whether it is for the collection or alias of that name, as far as the name decides."""
        return fits(name, self.collections, LONGEST_COLLECTION)

    def sees_collection(self, collection: Named) -> bool:
        """Whether it is for that collection: its name and its model, during a migration both models."""
        return self.sees(collection.name) and all(map(self.sees_model, collection.models))

    def sees_label_set(self, name: str) -> bool:
        """Whether it is for the label set of that name."""
        return fits(name, self.labels, LONGEST_NAME)

    def sees_model(self, name: str) -> bool:
        """Whether it is for the model of that name."""
        return fits(name, self.models, LONGEST_NAME)

    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and dt.datetime.now(dt.timezone.utc) >= self.expires


def fits(name: str, patterns: tuple[str, ...], longest: int) -> bool:
    """Whether one of the patterns fits the name."""
    return "*" in patterns or (
        len(name) <= longest and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    )
