"""What is to become of a Triton, judged by how its models answer the questions that their exports recorded.

After each look, two things are said of it. *Ready*: callers belong here. *Alive*: a restart would not help.

- WRONG puts a model out of service at once; RIGHT brings it back at once. A model that was exported without
  a known answer counts as right while Triton serves it.
- MISSING, or BUSY, puts a model out of service after some looks in a row; but not while Triton makes
  progress. If the tower that did not answer has finished other inputs since the last look, then it is busy,
  not broken, and the model stays in service.
- A model that was right since it was loaded and now is not, is this Triton's fault: Triton is not ready, and
  after a while not alive. So is a Triton that had answered, and has not for that while.
- A model that was never right since it was loaded (a bad export, or one that does not load) is told, and is
  no reason for a restart, which would cure nothing, nor to take the other models away: Triton is ready as
  long as one is right and none is its fault.
- A Triton that begins is given time. It counts as alive until it has answered, or for so long. The same goes
  for models that it says are ready and that all keep silent from the beginning.
- A count of finished inputs that went down tells that the model, or all of Triton, was loaded anew: what was
  answered before says nothing any more, nor does that look's own answer, which may be the old one's last.

There is no clock and no network here: looks are handed in with their time, in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.triton.canary import FINE, Finding, Verdict, pause_after
from clipserve_gateway.triton.model_config import IMAGE_SUFFIX, TEXT_SUFFIX, model_name

WRONGS = 2
"""Wrong answers in a row after which a model that was never right is given up."""
LOADING = "Triton has not loaded it"
"""Detail of a model that Triton lists, and neither serves nor has failed to load."""


@dataclass(frozen=True)
class Look:
    """What one look at a Triton found."""

    answered: bool
    """Whether Triton itself answered. If not, its models count as missing."""
    detail: str = ""
    """Why it did not."""
    examined: Mapping[str, Finding] = field(default_factory=dict)
    """The models that Triton says are ready."""
    unready: Mapping[str, str] = field(default_factory=dict)
    """The others, and why they cannot be asked."""
    completed: Mapping[str, int] = field(default_factory=dict)
    """Inputs that each tower has finished since it was loaded; empty where Triton did not tell."""


@dataclass(frozen=True)
class Change:
    """A model came into service or left it; a sentence for people."""

    good: bool
    text: str
    waits: bool = False
    """Whether nothing is known to be wrong with it: Triton loads it."""

    @property
    def sign(self) -> str:
        """What stands before the sentence."""
        return "✓" if self.good else "·" if self.waits else "✗"


class Judgement:
    """Of one Triton, from its first look on.

    Attributes:
        heard: it has answered since it began, and not every model that it says is ready keeps silent.
        ready: callers belong here.
        alive: a restart would not help.
        hopeless: Triton answers, no model was ever right, and each is not loaded or has answered wrong twice
            in a row. Of a Triton that has just begun this is final: it answers once it has tried to load all.
        why: what is wrong with which model, for people; empty where nothing is.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._standings: dict[str, _Standing] = {}
        self._completed: dict[str, int] = {}
        self._began: float | None = None
        self._last_answer = 0.0
        self._took = 0.0
        """Seconds that right answers took, of all models; 0 where one was not right."""
        self.heard = False
        self.ready = False
        self.alive = True
        self.hopeless = False
        self.why = "nothing is known yet"

    @property
    def models(self) -> dict[str, bool]:
        """Every known model, and whether its answers are to be trusted."""
        return {name: standing.good for name, standing in sorted(self._standings.items())}

    @property
    def proved(self) -> frozenset[str]:
        """Models that were right when they were last looked at, and have been since they were loaded."""
        return frozenset(name for name, it in self._standings.items() if it.proved and not it.in_trouble)

    @property
    def pause(self) -> float:
        """Seconds until the next look: few unless all was right in this one."""
        return pause_after(self._took, self._settings.canary_seconds)

    def judge(self, look: Look, now: float) -> list[Change]:
        """Takes a look into account that was made at `now`; what people should hear of it."""
        if self._began is None:
            self._began = now
        anew = {model_name(it) for it, count in look.completed.items() if count < self._completed.get(it, 0)}
        if anew:
            self.heard, self._began = False, now
        findings = self._findings(look)
        well = all(it.verdict in FINE for it in findings.values())
        self._took = sum(it.seconds for it in findings.values()) if well else 0.0
        self._standings = {name: self._standings.get(name) or _Standing(name) for name in findings}
        changes = []
        for name, finding in findings.items():
            standing, progresses = self._standings[name], self._progresses(name, finding, look)
            changes.append(standing.take(finding, progresses, now, self._settings.canary_misses))
            if name in anew:
                standing.proved = False
            elif name in look.examined and (progresses or finding.verdict is not Verdict.MISSING):
                self.heard = True
        self.heard |= look.answered and not look.examined
        self._last_answer = now if look.answered or look.completed else self._last_answer
        self._completed |= look.completed
        self._conclude(look, now)
        return [change for change in changes if change]

    def _findings(self, look: Look) -> dict[str, Finding]:
        if not look.answered:
            return {name: Finding(Verdict.MISSING, look.detail) for name in self._standings}
        unready = {name: Finding(Verdict.MISSING, why) for name, why in look.unready.items()}
        return unready | dict(look.examined)

    def _progresses(self, name: str, finding: Finding, look: Look) -> bool:
        towers = (finding.tower,) if finding.tower else (name + IMAGE_SUFFIX, name + TEXT_SUFFIX)
        known = [tower for tower in towers if tower in self._completed]
        return any(look.completed.get(tower, 0) > self._completed[tower] for tower in known)

    def _conclude(self, look: Look, now: float) -> None:
        assert self._began is not None, "judged"
        standings = self._standings.values()
        serves = any(it.good for it in standings)
        faults = [it for it in standings if it.proved and not it.good]
        faulty = max((it.trouble_seconds(now) for it in faults), default=0.0)
        silent, patience = now - self._began, self._settings.startup_seconds
        if self.heard:
            silent, patience = now - self._last_answer, self._settings.restart_after_seconds
        self.ready = serves and not faults
        self.alive = faulty < self._settings.restart_after_seconds and (serves or silent < patience)
        self.hopeless = look.answered and all(
            not it.proved and (it.keeps_wrong or name in look.unready) for name, it in self._standings.items()
        )
        troubles = [it.trouble(now) for it in standings if it.in_trouble]
        if not standings:
            troubles = ["Triton serves no model" if look.answered else look.detail]
        self.why = "; ".join(troubles)


class _Standing:
    """What is known of one model."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.good = False
        self.proved = False
        """It was right since it was loaded."""
        self._wrong = False
        """It was wrong, and not right since. Progress is no excuse for that."""
        self._misses = 0
        self._wrongs = 0
        """Wrong answers in a row."""
        self._since: float | None = None
        """When its trouble began; None while there is none."""
        self._symptom = ""
        self._detail = ""
        self._told: tuple[str, bool] | None = None
        """What was said last, and whether Triton was loading it."""

    @property
    def in_trouble(self) -> bool:
        """Whether it was not right when it was last looked at; it may still be good."""
        return self._since is not None

    @property
    def keeps_wrong(self) -> bool:
        """Whether it has answered wrong again and again."""
        return self._wrongs >= WRONGS

    def trouble_seconds(self, now: float) -> float:
        """How long it has not been right; 0 if it is."""
        return 0.0 if self._since is None else now - self._since

    def trouble(self, now: float) -> str:
        """What is wrong with it, for people."""
        return f"model {self._name} {self._symptom}, for {self.trouble_seconds(now):.0f} s: {self._detail}"

    def take(self, finding: Finding, progresses: bool, now: float, misses: int) -> Change | None:
        """Takes a finding into account; what is new, if anything."""
        if finding.verdict in FINE:
            return self._right(finding)
        if finding.verdict is not Verdict.WRONG and progresses and self.proved and not self._wrong:
            return self._busy()
        self._since = now if self._since is None else self._since
        self._detail = finding.detail
        self._wrongs = self._wrongs + 1 if finding.verdict is Verdict.WRONG else 0
        if finding.verdict is Verdict.WRONG:
            self.good, self._wrong, self._misses, self._symptom = False, True, 0, "answers wrong"
            return self._tell(self._symptom)
        self._misses += 1
        self._symptom = "does not answer"
        if self._misses < misses:
            return None
        self.good = False
        return self._tell(self._symptom)

    def _right(self, finding: Finding) -> Change | None:
        self.good = self.proved = True
        self._wrong, self._wrongs, self._misses, self._since = False, 0, 0, None
        self._detail = finding.detail
        return self._tell("answers as recorded" if finding.verdict is Verdict.RIGHT else "is served")

    def _busy(self) -> Change | None:
        """It works, only not for us."""
        was_good, self.good = self.good, True
        self._misses, self._since, self._detail = 0, None, ""
        return None if was_good else self._tell("makes progress again")

    def _tell(self, what: str) -> Change | None:
        if (what, self._detail == LOADING) == self._told:
            return None
        self._told = what, self._detail == LOADING
        if not self.good and not self.proved and self._detail == LOADING:
            return Change(False, f"model {self._name} is not served yet: {LOADING}", waits=True)
        never = "; it was never right" if self._wrong else "; it has not answered yet"
        before = "" if self.good else "; it was right before" if self.proved else never
        detail = f": {self._detail}" if self._detail else ""
        return Change(self.good, f"model {self._name} {what}{detail}{before}")
