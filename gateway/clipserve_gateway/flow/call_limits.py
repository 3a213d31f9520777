"""How many calls each caller may have under way."""

from __future__ import annotations

from collections import Counter

from clipserve_gateway.errors import Overloaded

RETRY_SECONDS = 1.0


class CallLimits:
    """Counts the calls of callers, each a token or a connection, and their streams among them."""

    def __init__(self, calls: int, streams: int) -> None:
        """What a caller may have unless its token says otherwise."""
        self._calls = calls
        self._streams = streams
        self._under_way: Counter[tuple[str, bool]] = Counter()

    def enter(self, owner: str, *, stream: bool, calls: int = 0, streams: int = 0) -> None:
        """Counts a call; Overloaded, and nothing counted, where there are too many. 0 takes the default."""
        open_streams = self._under_way[owner, True]
        open_calls = open_streams + self._under_way[owner, False]
        most_calls, most_streams = calls or self._calls, streams or self._streams
        if open_calls >= most_calls:
            raise too_many(f"{open_calls} calls", most_calls, "calls")
        if stream and open_streams >= most_streams:
            raise too_many(f"{open_streams} streams", most_streams, "streams")
        self._under_way[owner, stream] += 1

    def leave(self, owner: str, *, stream: bool) -> None:
        """The call has ended."""
        self._under_way[owner, stream] -= 1
        if not self._under_way[owner, stream]:
            del self._under_way[owner, stream]

    def __len__(self) -> int:
        """Calls under way."""
        return self._under_way.total()


def too_many(has: str, most: int, limit: str) -> Overloaded:
    """The error of a caller that has too many already."""
    return Overloaded(
        f"this caller has {has} under way, and may have {most}; end some, or try again later",
        metadata={"limit": f"{limit}_per_caller"},
        retry_after=RETRY_SECONDS,
    )
