"""Near-duplicates among embeddings, found exactly: every pair that matters is compared.

Points are looked at in an order of preference. One that is as near as the threshold to a point that leads a
group joins the nearest of these; one that is not leads a group of its own. So each member is near to its
group's first, and a long chain of pictures that change little by little cannot put two different ones
together, as connected components would. What leads a group is preferred to all its members: whoever keeps
only the leaders loses nothing that has no near-duplicate left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipserve.types import Floats

ROWS = 2_048
"""Points looked at together."""
COLUMNS = 8_192
"""Leaders that they are compared with at a time: 64 MiB of cosines."""
ROUNDING = 1e-6
"""What float32 may lose: equal embeddings have cosines a little below 1."""


@dataclass(frozen=True)
class Group:
    """Points that are near-duplicates of the first."""

    members: tuple[int, ...]
    """Rows of the embeddings, at least two: the group's first, then the others, nearest first."""
    cosines: tuple[float, ...]
    """Cosine of each member and the first, 1.0 for the first itself."""


def find_groups(
    embeddings: Floats,
    threshold: float,
    *,
    order: Sequence[int] | npt.NDArray[np.intp] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Group]:
    """Groups of near-duplicates, the largest first.

    Time grows with the square of N where few points are duplicates; memory, beside the embeddings, is some
    200 MB however many there are.

    Args:
        embeddings: float32 [N, D], L2-normalized.
        threshold: cosine from which two points are near-duplicates, above 0 to 1.
        order: all rows, the preferred first; by default as they are.
        progress: called with the number of points looked at so far.
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
    """The points that lead a group, in the order of preference."""

    def __init__(self, embeddings: Floats, rows: npt.NDArray[np.intp]) -> None:
        """`rows`: all rows of the embeddings, the preferred first; a place is a position in it."""
        self._embeddings = embeddings
        self._rows = rows
        self._places: npt.NDArray[np.intp] = np.empty(len(rows), np.intp)
        self._count = 0

    def add(self, places: npt.NDArray[np.intp]) -> None:
        """Adds the points at these places."""
        self._places[self._count : self._count + len(places)] = places
        self._count += len(places)

    def nearest(self, embeddings: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
        """For each embedding the place of the nearest leader, the first of equals, and its cosine."""
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
    """For each point of a block its leader's place (its own where it leads) and the cosine.

    `first` is the place of the block's first point. Those that lead are added to the leaders.
    """
    places, best = leaders.nearest(block)
    within = block @ block.T
    own = np.arange(first, first + len(block))
    new = np.empty(len(block), np.intp)
    count = 0
    for i in range(len(block)):
        if count:
            # Leaders of this very block count as well.
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
    """The groups of more than one, given each point's leader."""
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
