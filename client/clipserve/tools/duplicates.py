"""Exact search for groups of near-duplicates among embeddings.

Points are visited in an order of preference. A point within the threshold of a group's leader joins the
group with the nearest leader; any other point becomes the leader of a new group. So every member is near its
leader, and a long chain of pictures that change little by little does not become one group, unlike with
connected components. A leader is preferred to all members of its group, so keeping only the leaders loses no
picture without a near-duplicate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipserve.types import Floats

ROWS = 2_048
"""Points visited together."""
COLUMNS = 8_192
"""Leaders compared with them at a time: 64 MiB of cosines."""
ROUNDING = 1e-6
"""Rounding error of float32: equal embeddings have cosines slightly below 1."""


@dataclass(frozen=True)
class Group:
    """A leader and its near-duplicates."""

    members: tuple[int, ...]
    """At least two rows of the embeddings: the leader, then the others, nearest first."""
    cosines: tuple[float, ...]
    """Cosine of each member with the leader; 1.0 for the leader."""


def find_groups(
    embeddings: Floats,
    threshold: float,
    *,
    order: Sequence[int] | npt.NDArray[np.intp] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Group]:
    """Groups of near-duplicates, the largest first.

    If few points are duplicates, time grows with the square of N. Memory besides the embeddings is about
    200 MB for any N.

    Args:
        embeddings: float32 [N, D], L2-normalized.
        threshold: smallest cosine of near-duplicates, above 0 and at most 1.
        order: all rows, the preferred first; by default 0 to N - 1.
        progress: called with the number of points visited so far.

    Raises ValueError for other thresholds.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it must be above 0 and at most 1")
    rows = np.arange(len(embeddings)) if order is None else np.asarray(order, np.intp)
    nearest = np.empty(len(rows), np.intp)
    cosines = np.empty(len(rows), np.float32)
    leaders = Leaders(embeddings, rows)
    for start in range(0, len(rows), ROWS):
        part = slice(start, start + ROWS)
        nearest[part], cosines[part] = assign(
            embeddings[rows[part]], leaders, threshold - ROUNDING, first=start
        )
        if progress is not None:
            progress(min(start + ROWS, len(rows)))
    return gathered(rows, nearest, cosines)


class Leaders:
    """The leaders of all groups, in the order of preference."""

    def __init__(self, embeddings: Floats, rows: npt.NDArray[np.intp]) -> None:
        """`rows`: all rows of the embeddings, the preferred first; a place is a position in it."""
        self._embeddings = embeddings
        self._rows = rows
        self._places: npt.NDArray[np.intp] = np.empty(len(rows), np.intp)
        self._count = 0

    def add(self, places: npt.NDArray[np.intp]) -> None:
        self._places[self._count : self._count + len(places)] = places
        self._count += len(places)

    def nearest(self, embeddings: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
        """The place of the nearest leader of each embedding (the first of equals), and its cosine."""
        best = np.full(len(embeddings), -np.inf, np.float32)
        places = np.zeros(len(embeddings), np.intp)
        for start in range(0, self._count, COLUMNS):
            some = self._places[start : min(start + COLUMNS, self._count)]
            cosines = embeddings @ self._embeddings[self._rows[some]].T
            nearest = cosines.argmax(axis=1)
            found_cosines = cosines[np.arange(len(nearest)), nearest]
            better = found_cosines > best
            best[better] = found_cosines[better]
            places[better] = some[nearest[better]]
        return places, best


def assign(
    block: Floats, leaders: Leaders, threshold: float, *, first: int
) -> tuple[npt.NDArray[np.intp], Floats]:
    """The place of each point's leader (its own for a leader), and the cosine with it.

    `first` is the place of the block's first point. New leaders are added to `leaders`.
    """
    places, best = leaders.nearest(block)
    within = block @ block.T
    own = np.arange(first, first + len(block))
    new = np.empty(len(block), np.intp)
    count = 0
    for i in range(len(block)):
        if count:
            # Leaders of this block count too.
            cosines = within[i, new[:count]]
            j = int(cosines.argmax())
            if cosines[j] > best[i]:
                best[i], places[i] = cosines[j], own[new[j]]
        if best[i] < threshold:
            new[count] = i
            count += 1
            best[i], places[i] = 1.0, own[i]
    leaders.add(own[new[:count]])
    return places, best


def gathered(rows: npt.NDArray[np.intp], nearest: npt.NDArray[np.intp], cosines: Floats) -> list[Group]:
    """The groups with at least two members, from the leader of each point."""
    members: dict[int, list[int]] = {}
    for place in np.flatnonzero(nearest != np.arange(len(nearest))):
        members.setdefault(int(nearest[place]), []).append(int(place))
    groups = []
    for leader, others in sorted(members.items(), key=lambda item: (-len(item[1]), item[0])):
        others.sort(key=lambda place: (-cosines[place], place))
        group = (leader, *others)
        near = (1.0, *(min(1.0, float(cosines[place])) for place in others))
        groups.append(Group(tuple(int(rows[place]) for place in group), near))
    return groups
