"""Limits of the concurrent calls of each caller."""

from __future__ import annotations

from collections import Counter

from clipserve_gateway.errors import Overloaded

RETRY_SECONDS = 1.0


class CallLimits:
    """Counts the calls and streams of each caller, which is a token or a connection."""

    def __init__(self, calls: int, streams: int) -> None:
        """`calls` and `streams` are the limits of callers whose tokens set no others."""
        self._calls = calls
        self._streams = streams
        self._under_way: Counter[tuple[str, bool]] = Counter()

    def enter(self, owner: str, *, stream: bool, calls: int = 0, streams: int = 0) -> None:
        """Counts a call. Raises Overloaded if there are too many. 0 stands for the default limit."""
        open_streams = self._under_way[owner, True]
        open_calls = open_streams + self._under_way[owner, False]
        most_calls, most_streams = calls or self._calls, streams or self._streams
        if open_calls >= most_calls:
            raise too_many(f"{open_calls} calls", most_calls, "calls")
        if stream and open_streams >= most_streams:
            raise too_many(f"{open_streams} streams", most_streams, "streams")
        self._under_way[owner, stream] += 1

    def leave(self, owner: str, *, stream: bool) -> None:
        """Ends the count of a call."""
        self._under_way[owner, stream] -= 1
        if not self._under_way[owner, stream]:
            del self._under_way[owner, stream]

    def __len__(self) -> int:
        """Number of calls under way."""
        return self._under_way.total()


def too_many(has: str, most: int, limit: str) -> Overloaded:
    """Returns the error of a caller that has reached a limit."""
    return Overloaded(
        f"this caller has {has} under way, and the limit is {most}; end some or try again later",
        metadata={"limit": f"{limit}_per_caller"},
        retry_after=RETRY_SECONDS,
    )
