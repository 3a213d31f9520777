"""Stored label sets."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from clipserve.labels import LabelSet
from clipserve.types.results import LabelWarning


@dataclass(frozen=True)
class LabelSetInfo:
    """Facts about a stored label set, without its labels."""

    name: str
    version: int
    label_count: int
    """Number of labels, without the answer "none of the above"."""
    template_count: int
    none_of_the_above: bool
    content_hash: str
    """64 hex digits; equal for equal labels, templates, thresholds and none_of_the_above."""
    create_time: dt.datetime
    """When this version was stored."""
    versions: tuple[int, ...]
    """Stored versions, oldest first."""
    warnings: tuple[LabelWarning, ...] = ()
    """Likely problems of the labels. Only `put_label_set` returns them; they are not stored."""


@dataclass(frozen=True)
class NamedLabelSet:
    """A stored label set."""

    info: LabelSetInfo
    labels: LabelSet
