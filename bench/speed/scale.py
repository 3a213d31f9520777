"""How long a run is, and what it must show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Seconds of a turn and numbers of rounds."""

    seconds: float
    rounds: int
    offered: tuple[float, ...]
    """Offered loads, as parts of the peak."""
    longer: float
    """Turns of the offered loads are so many times longer."""
    concurrency: tuple[int, ...]
    zero_shot_labels: int
    """Labels that open_clip's builder gets: it takes as long for each."""
    built_labels: int
    """Labels that ours gets."""
    builds: int
    points: int
    items: tuple[int, ...]
    labels: tuple[int, ...]
    idle: float
    """Seconds without calls in which idle cost is measured."""

    @property
    def more_rounds(self) -> int:
        """Of comparisons whose rounds differ much."""
        return self.rounds + 2


MINUTES = Scale(
    seconds=6.0,
    rounds=3,
    offered=(0.2, 0.5, 0.8),
    longer=2.5,
    concurrency=(1, 4, 16, 64, 256),
    zero_shot_labels=5,
    built_labels=50,
    builds=1,
    points=100_000,
    items=(1, 8, 64, 256),
    labels=(1, 100, 1_000, 10_000),
    idle=20.0,
)
FULL = Scale(
    seconds=10.0,
    rounds=5,
    offered=(0.2, 0.4, 0.5, 0.6, 0.8, 1.0),
    longer=2.5,
    concurrency=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    zero_shot_labels=10,
    built_labels=1_000,
    builds=1,
    points=100_000,
    items=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    labels=(1, 10, 100, 1_000, 10_000),
    idle=60.0,
)


@dataclass(frozen=True)
class Bar:
    """A figure and its bound: at least, or at most."""

    what: str
    value: float
    bound: float
    most: bool = False

    @property
    def kept(self) -> bool:
        """Whether it holds."""
        return bool(self.value <= self.bound if self.most else self.value >= self.bound)
