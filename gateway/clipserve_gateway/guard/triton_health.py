"""The health of one Triton, decided from the health of its models.

After each probe it says two things. *Ready*: callers may be sent to this Triton. *Alive*: a restart would not
help. The health of each model follows the rule in `triton.model_health`; for the whole Triton:

- A model that was healthy since it was loaded and is out of service is a fault of this Triton: Triton is not
  ready, and not alive after `restart_after_seconds`. The same holds for a Triton that answered before and has
  not answered for that time.
- A model that was never healthy since it was loaded (a bad export, or one that does not load) is reported. A
  restart would not cure it, so it makes Triton neither dead nor, as long as another model serves, unready.
- A Triton that starts counts as alive until it has answered, for at most `startup_seconds`; a caller that
  sees the progress of the load counts this time from the last progress. The same holds if all models that it
  lists as ready have been silent since the start.
- A count of finished inputs that goes down shows that Triton has loaded the model again or was restarted:
  earlier answers say nothing, and neither does the answer of that probe, which may be the old model's last.

Pure: no clock, no network. Times are handed in, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from clipserve_gateway.guard.probe import ProbeResult
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.triton.canary import CanaryResult, Outcome, pause_after
from clipserve_gateway.triton.model_config import IMAGE_SUFFIX, TEXT_SUFFIX, model_name
from clipserve_gateway.triton.model_health import ModelHealth, State
from clipserve_gateway.triton.unready import LOADING

WRONG_RESULTS = 2
"""Wrong answers in a row after which a model that was never healthy cannot be expected to become so."""


@dataclass(frozen=True)
class Change:
    """A model went into or out of service."""

    good: bool
    text: str
    """A sentence for operators."""
    waits: bool = False
    """Whether Triton is still loading the model: nothing is wrong with it."""

    @property
    def sign(self) -> str:
        """The mark before the sentence."""
        return "✓" if self.good else "·" if self.waits else "✗"


class TritonHealth:
    """Of one Triton, from its first probe on.

    Attributes:
        has_answered: since its start Triton has answered, and so has a model that it lists as ready.
        ready: callers may be sent to this Triton.
        alive: a restart would not help.
        cannot_serve: Triton answers, no model was ever healthy, and each one is not loaded or was wrong
            twice in a row. This is final for a Triton that starts: it answers only after it has tried to load
            all models.
        why: what is wrong with which model; empty if nothing is.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._models: dict[str, _Model] = {}
        self._completed: dict[str, int] = {}
        self._started_at: float | None = None
        self._last_answer = 0.0
        self._canary_seconds = 0.0
        """Duration of all canaries of the last probe; 0 unless all were right."""
        self.has_answered = False
        self.ready = False
        self.alive = True
        self.cannot_serve = False
        self.why = "nothing is known yet"

    @property
    def models(self) -> dict[str, bool]:
        """Every known model, and whether it is in service."""
        return {name: model.health.in_service for name, model in sorted(self._models.items())}

    @property
    def healthy_since_load(self) -> frozenset[str]:
        """Models whose last result was right, and that have been right since Triton loaded them."""
        healths = {name: model.health for name, model in self._models.items()}
        return frozenset(
            name
            for name, health in healths.items()
            if health.was_healthy_since_load and health.trouble_since is None
        )

    @property
    def pause(self) -> float:
        """Seconds until the next probe; short unless all canaries were right."""
        return pause_after(self._canary_seconds, self._settings.canary_seconds)

    def count_from(self, progress: float) -> None:
        """Counts the start from the last progress of the load, unless Triton has answered since."""
        if not self.has_answered:
            self._started_at = max(progress, self._started_at or progress)

    def update(self, probe: ProbeResult, now: float) -> list[Change]:
        """Takes a probe that ended at `now` into account; returns what operators should be told."""
        if self._started_at is None:
            self._started_at = now
        loaded_again = {
            model_name(tower)
            for tower, count in probe.completed.items()
            if count < self._completed.get(tower, 0)
        }
        if loaded_again:
            self.has_answered, self._started_at = False, now
        results = self._results(probe)
        all_right = all(result.ok for result in results.values())
        self._canary_seconds = sum(result.seconds for result in results.values()) if all_right else 0.0
        misses = self._settings.canary_misses
        self._models = {name: self._models.get(name) or _Model(name, misses) for name in results}
        changes = []
        for name, result in results.items():
            model, progressed = self._models[name], self._progressed(name, result, probe)
            model.health.update(result, progressed, now)
            changes.append(model.change(result))
            if name in loaded_again:
                model.health.reload()
            elif name in probe.canaries and (progressed or result.outcome is not Outcome.MISSING):
                self.has_answered = True
        self.has_answered |= probe.answered and not probe.canaries
        self._last_answer = now if probe.answered or probe.completed else self._last_answer
        self._completed |= probe.completed
        self._conclude(probe, now, now - self._started_at)
        return [change for change in changes if change]

    def _results(self, probe: ProbeResult) -> dict[str, CanaryResult]:
        if not probe.answered:
            return {name: CanaryResult(Outcome.MISSING, probe.detail) for name in self._models}
        unready = {name: CanaryResult(Outcome.MISSING, reason) for name, reason in probe.unready.items()}
        return unready | dict(probe.canaries)

    def _progressed(self, name: str, result: CanaryResult, probe: ProbeResult) -> bool:
        """Whether the tower that did not answer has finished inputs since the last probe."""
        towers = (result.tower,) if result.tower else (name + IMAGE_SUFFIX, name + TEXT_SUFFIX)
        known = [tower for tower in towers if tower in self._completed]
        return any(probe.completed.get(tower, 0) > self._completed[tower] for tower in known)

    def _conclude(self, probe: ProbeResult, now: float, uptime: float) -> None:
        settings, healths = self._settings, [model.health for model in self._models.values()]
        serves = any(health.in_service for health in healths)
        faults = [health for health in healths if health.was_healthy_since_load and not health.in_service]
        fault_seconds = max((trouble_seconds(health, now) for health in faults), default=0.0)
        silent, allowed = uptime, settings.startup_seconds
        if self.has_answered:
            silent, allowed = now - self._last_answer, settings.restart_after_seconds
        self.ready = serves and not faults
        self.alive = fault_seconds < settings.restart_after_seconds and (serves or silent < allowed)
        self.cannot_serve = probe.answered and all(
            not model.health.was_healthy_since_load
            and (model.health.wrong_in_a_row >= WRONG_RESULTS or name in probe.unready)
            for name, model in self._models.items()
        )
        troubles = [text for model in self._models.values() if (text := model.trouble(now))]
        if not healths:
            troubles = ["Triton serves no model" if probe.answered else probe.detail]
        self.why = "; ".join(troubles)


class _Model:
    """The health of one model, and what operators were told of it."""

    def __init__(self, name: str, allowed_misses: int) -> None:
        self.health = ModelHealth(allowed_misses)
        self._name = name
        self._told: tuple[State, bool] | None = None
        """The state that was told last, and whether Triton was loading the model."""

    def trouble(self, now: float) -> str:
        """What is wrong; empty if the last result was right."""
        health = self.health
        if health.trouble_since is None:
            return ""
        seconds = trouble_seconds(health, now)
        return f"model {self._name} {health.symptom}, for {seconds:.0f} s: {health.result.detail}"

    def change(self, result: CanaryResult) -> Change | None:
        """The change that the last result, which is given, has made; None if there was none."""
        health = self.health
        state = State.HEALTHY if health.in_service else health.state
        loading = state is State.SILENT and health.result.detail == LOADING
        if state is State.NEW or (state, loading) == self._told:
            return None
        told, self._told = self._told, (state, loading)
        if health.in_service:
            texts = {Outcome.RIGHT: "answers as recorded", Outcome.UNKNOWN: f"is served: {result.detail}"}
            return Change(True, f"model {self._name} {texts.get(result.outcome, 'makes progress again')}")
        if loading and not health.was_healthy_since_load:
            return Change(False, f"model {self._name} is not served yet: {LOADING}", waits=True)
        before = "it has not answered yet"
        if health.was_healthy_since_load:
            before = "it was right before"
        elif State.WRONG in (state, told and told[0]):
            before = "it was never right"
        return Change(False, f"model {self._name} {health.symptom}: {health.result.detail}; {before}")


def trouble_seconds(health: ModelHealth, now: float) -> float:
    """How long the results of a model have not been right."""
    return 0.0 if health.trouble_since is None else now - health.trouble_since
