"""What a token allows."""

from __future__ import annotations

import datetime as dt
import fnmatch
from dataclasses import dataclass

from clipserve_gateway.access.methods import RPCS
from clipserve_gateway.access.rate import Rate
from clipserve_gateway.collection.spec import CollectionSpec

ALL_NAMES = ("*",)
LONGEST_COLLECTION = 64
"""Characters of the longest name of a collection or alias. Longer names are not matched against patterns."""
LONGEST_NAME = 256
"""Characters of the longest name of a label set (128) or model."""


@dataclass(frozen=True)
class Grant:
    """What a token allows; by default everything, without a time limit.

    Attributes:
        name: the token's name, for logs and messages; it is not secret.
        methods: names of RPCs.
        collections: patterns of names, in which `*` matches any characters and `?` matches one.
        labels: patterns of label set names.
        models: patterns of model names.
        rate: None for no limit.
        calls: most calls under way at a time; 0 for the server's default.
        streams: most streams among them; 0 for the server's default.
        expires: from this moment on the token is refused.
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
        """Whether it allows all collections and all models."""
        return "*" in self.collections and "*" in self.models

    def sees(self, name: str) -> bool:
        """Whether its patterns match the name of a collection or alias."""
        return fits(name, self.collections, LONGEST_COLLECTION)

    def sees_collection(self, collection: CollectionSpec) -> bool:
        """Whether it allows the collection: its name, and its model (during a migration both models)."""
        return self.sees(collection.name) and all(map(self.sees_model, collection.models))

    def sees_label_set(self, name: str) -> bool:
        """Whether it allows the label set."""
        return fits(name, self.labels, LONGEST_NAME)

    def sees_model(self, name: str) -> bool:
        """Whether it allows the model."""
        return fits(name, self.models, LONGEST_NAME)

    def expired(self) -> bool:
        """Whether `expires` has passed."""
        return self.expires is not None and dt.datetime.now(dt.timezone.utc) >= self.expires


def fits(name: str, patterns: tuple[str, ...], longest: int) -> bool:
    """Whether one of the patterns matches the name."""
    return "*" in patterns or (
        len(name) <= longest and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    )
