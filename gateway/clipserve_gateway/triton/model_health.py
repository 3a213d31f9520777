"""The one rule that decides whether a model is in service, from the results of its canary.

Pure: no clock, no network. The gateway applies it to each version of a model on each replica, the guard to
each model of its Triton. docs/reliability.md has a drawing of the states.

- A right answer puts the model into service at once; a wrong one takes it out at once.
- No answer (MISSING or BUSY) takes it out when it comes `allowed_misses` times in a row.
- No answer does not count while the tower answers other callers: then it is busy, not broken. This progress
  even brings back a model that was out of service for missing answers. It excuses only a model whose last
  answer since it was loaded was right.
- BUSY does not count either if the caller cannot tell whether there was progress: the queue may be full of
  the inputs of others.
"""

from __future__ import annotations

import enum

from clipserve_gateway.triton.canary import CanaryResult, Outcome

ALLOWED_MISSES = 2
"""Results without an answer in a row that take a model out of service."""


class State(enum.Enum):
    """Of a model; it is in service in HEALTHY and SUSPECT."""

    NEW = "new"
    """No result has counted yet."""
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    """The last results had no answer, fewer than are allowed."""
    SILENT = "silent"
    WRONG = "wrong"


class ModelHealth:
    """The health of one model on one Triton. Times are in seconds on any clock that does not go back.

    Attributes:
        state: see State.
        result: the last result that counted.
        was_healthy_since_load: it was right at least once since Triton loaded it.
        wrong_in_a_row: wrong results without another one between them.
        trouble_since: when the first of the results came that were not right; None if the last one was.
    """

    def __init__(self, allowed_misses: int = ALLOWED_MISSES) -> None:
        self.state = State.NEW
        self.result = CanaryResult(Outcome.MISSING)
        self.was_healthy_since_load = False
        self.wrong_in_a_row = 0
        self.trouble_since: float | None = None
        self._allowed_misses = allowed_misses
        self._misses = 0
        self._last_answer_right = False

    @property
    def in_service(self) -> bool:
        """Whether the model gets calls."""
        return self.state in (State.HEALTHY, State.SUSPECT)

    @property
    def symptom(self) -> str:
        """What is wrong, by the last result that counted."""
        return "answers wrong" if self.result.outcome is Outcome.WRONG else "does not answer"

    def update(self, result: CanaryResult, progressed: bool | None, now: float) -> None:
        """Takes a result into account.

        `progressed` says whether the tower that did not answer has answered other callers since the last
        result; None if that is not known.
        """
        if result.ok:
            self.was_healthy_since_load = self._last_answer_right = True
            self._recover(result)
        elif result.outcome is Outcome.WRONG:
            self._last_answer_right = False
            self._misses, self.wrong_in_a_row = 0, self.wrong_in_a_row + 1
            self._worsen(result, State.WRONG, now)
        elif progressed and self._last_answer_right:
            self._recover(self.result)
        elif result.outcome is Outcome.MISSING or progressed is not None:
            self._misses, self.wrong_in_a_row = self._misses + 1, 0
            missed = State.SUSPECT if self.in_service else self.state
            self._worsen(result, State.SILENT if self._misses >= self._allowed_misses else missed, now)

    def unload(self, detail: str, now: float) -> None:
        """Takes the model out of service at once: Triton has refused a call because it does not serve it."""
        self.reload()
        self._worsen(CanaryResult(Outcome.MISSING, detail), State.SILENT, now)

    def reload(self) -> None:
        """Triton has loaded the model again: earlier answers say nothing about it."""
        self.was_healthy_since_load = self._last_answer_right = False

    def _recover(self, result: CanaryResult) -> None:
        self.state, self.result = State.HEALTHY, result
        self._misses, self.wrong_in_a_row, self.trouble_since = 0, 0, None

    def _worsen(self, result: CanaryResult, state: State, now: float) -> None:
        self.state, self.result = state, result
        self.trouble_since = now if self.trouble_since is None else self.trouble_since
