"""Timestamps as engines store them: whole microseconds since 1970, UTC."""

from __future__ import annotations

import datetime as dt

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
MICROSECOND = dt.timedelta(microseconds=1)


def to_microseconds(time: dt.datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (time - EPOCH) // MICROSECOND


def from_microseconds(count: int) -> dt.datetime:
    """The timestamp, in UTC."""
    return EPOCH + count * MICROSECOND
