"""Why a Triton did not start, and what to do: one sentence for each. Pure: reads nothing."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass

from clipserve_gateway.local.diagnosis_rules import NO_PROGRESS, RULES, SENTENCES

LARGEST_DETAIL = 200
"""Characters of Triton's own text in a sentence."""
SMALL_SHARED_MEMORY = 64 << 20
"""Bytes of /dev/shm below which it counts as the cause of a crash; Docker's default is 64 MiB."""
FEW_OPEN_FILES = 256
"""Limit on open files below which it counts as the cause of a model that Triton unloads."""


@dataclass(frozen=True)
class Evidence:
    """What is known besides the log."""

    exit_code: int | None = None
    """Of Triton; negative for a signal. None while Triton runs."""
    stub_code: int | None = None
    """Of a Python stub of Triton that has ended; negative for a signal."""
    oom_kills: int = 0
    """Processes that the kernel has killed because memory ran out, since Triton started."""
    no_avx2: bool = False
    shared_memory: int | None = None
    """Size of /dev/shm in bytes; None if not known."""
    open_files: int | None = None
    """Limit on open files of a process; None if not known."""
    symptom: str = ""
    """What is wrong with Triton's models."""

    @property
    def has_small_shared_memory(self) -> bool:
        """Whether /dev/shm is known to be too small."""
        return self.shared_memory is not None and self.shared_memory < SMALL_SHARED_MEMORY

    @property
    def shared_memory_size(self) -> str:
        """The size of /dev/shm with its unit."""
        return f"{(self.shared_memory or 0) / (1 << 20):.3g} MiB"


@dataclass(frozen=True)
class Diagnosis:
    """A cause and a remedy, a sentence each."""

    cause: str
    remedy: str
    port: int = 0
    """The port that is taken, if that is the cause."""
    known: bool = True
    """Whether the cause is known. If not, the user should see the last lines of the log."""
    transient: bool = False
    """Whether the same start may succeed when it is tried again."""


NO_ANSWER = (
    r"\bmodel (\S+) does not answer, for \d+ s: (.+?)(?=; model \S+ (?:does not answer|answers wrong), |$)"
)
"""In a symptom: a model that does not answer, and the reason."""
BAD_EXPORT = (
    r"^the repository has no |^Triton cannot load \S+: (?!unloaded)|: parameter \S+ (?:is|has) |"
    r": the towers disagree on |: fingerprint is not |: text_length is neither "
)
"""Reasons of `triton.model_config` and `guard.probe` for a model that will never answer."""


def diagnose(log_text: str, evidence: Evidence) -> Diagnosis:
    """The cause of a failed start."""
    text = f"{log_text}\n{evidence.symptom}"
    causes: tuple[Callable[[str, Evidence], Diagnosis | None], ...] = (
        *(taken_port, full_shared_memory, by_log, lost_race),
        *(by_signal, few_open_files, bad_model),
    )
    return next((diagnosis for cause in causes if (diagnosis := cause(text, evidence))), unknown(evidence))


def taken_port(text: str, evidence: Evidence) -> Diagnosis | None:
    """Triton could not listen."""
    match = re.search(r"failed to start (\w+) service: .*Socket '[^']*:(\d+)' already in use", text)
    # Triton logs the same if it cannot open a socket for another reason.
    if not match or "Too many open files" in text:
        return None
    option = {"GRPC": "--triton-port", "HTTP": "--triton-http-port"}.get(match[1], "--triton-metrics-port")
    return Diagnosis(
        f"Port {match[2]}, on which Triton should listen, is taken.",
        f"Choose another port with {option}.",
        port=int(match[2]),
    )


def full_shared_memory(text: str, evidence: Evidence) -> Diagnosis | None:
    """/dev/shm is small, and therefore full rather than a disk: Triton logs the same for both."""
    if "No space left on device" not in text or not evidence.has_small_shared_memory:
        return None
    return Diagnosis(
        f"Triton needs more shared memory: /dev/shm holds only {evidence.shared_memory_size}.",
        SENTENCES["shared_memory"],
    )


def by_log(text: str, evidence: Evidence) -> Diagnosis | None:
    """A line of the log matches a rule."""
    for pattern, cause, remedy in RULES:
        match = re.search(pattern, text)
        if match:
            groups = {key: shown(value or "") for key, value in match.groupdict().items()}
            words = SENTENCES | groups
            words["path"] = words.get("path") or words.get("before", "")
            return Diagnosis(cause.format_map(words).replace(": .", "."), remedy.format_map(words))
    return None


def lost_race(text: str, evidence: Evidence) -> Diagnosis | None:
    """Triton's Python backend sometimes aborts at a lock in shared memory: a known bug of Triton.

    See triton-inference-server/server, issue 8882. Too little shared memory has the same effect at every
    start.
    """
    if "boost::interprocess::lock_exception" not in text or evidence.has_small_shared_memory:
        return None
    return Diagnosis(
        "Triton's Python backend crashed at a lock in shared memory, a known bug of Triton.",
        "Start again.",
        transient=True,
    )


def by_signal(text: str, evidence: Evidence) -> Diagnosis | None:
    """Triton, or the Python stub that runs a model, ended in a way that has a known cause."""
    codes = {evidence.exit_code, evidence.stub_code}
    what = "Triton" if evidence.exit_code is not None else "The process of a model"
    if evidence.oom_kills:
        return Diagnosis("Memory ran out: the kernel has killed a process.", SENTENCES["memory"])
    if -signal.SIGKILL in codes:
        return Diagnosis(
            f"{what} was killed (SIGKILL), most likely because memory ran out.", SENTENCES["memory"]
        )
    if -signal.SIGILL in codes:
        lacks = "has no AVX2" if evidence.no_avx2 else "lacks an instruction that it uses"
        return Diagnosis(f"{what} cannot run here: the processor {lacks}.", "Use a newer processor.")
    crashes = {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT}
    if evidence.has_small_shared_memory and codes & crashes:
        return Diagnosis(
            f"Triton has crashed, and /dev/shm holds only {evidence.shared_memory_size}.",
            SENTENCES["shared_memory"],
        )
    dead = re.search(r"Stub process '(.+?)(?:_\d+)*' is not healthy", text)
    if dead or (evidence.exit_code is None and evidence.stub_code is not None):
        model = f"The process of {dead[1]}" if dead else "The process of a model"
        code = evidence.exit_code if evidence.exit_code is not None else evidence.stub_code
        how = "" if code is None else f" ({ending(code)})"
        return Diagnosis(
            f"{model} ended while the model was loaded{how}.", f"Start again. {SENTENCES['export']}"
        )
    return None


def few_open_files(text: str, evidence: Evidence) -> Diagnosis | None:
    """Triton unloads models because it cannot open the repository; it does not always log the reason."""
    few = evidence.open_files is not None and evidence.open_files < FEW_OPEN_FILES
    if not few or not re.search(r"failed to open directory|Triton cannot load \S+: unloaded", text):
        return None
    return Diagnosis(f"{SENTENCES['few_open_files']}: it is {evidence.open_files}.", SENTENCES["open_files"])


def bad_model(text: str, evidence: Evidence) -> Diagnosis | None:
    """A model does not load, or answers wrong; Triton or the probe gives the reason."""
    if evidence.exit_code is not None:
        return None
    match = re.search(r"failed to load '([^']+)' version \d+: (?:Internal|Invalid argument): ([^\n]+)", text)
    if match:
        return Diagnosis(f"Triton cannot load {match[1]}: {shown(match[2])}.", SENTENCES["export"])
    match = re.search(r"^model (\S+) answers wrong, for \d+ s: ([^\n]+)", evidence.symptom, re.MULTILINE)
    if match:
        return Diagnosis(f"Model {match[1]} answers wrong: {shown(match[2])}.", SENTENCES["export"])
    for name, why in re.findall(NO_ANSWER, evidence.symptom):
        if re.search(BAD_EXPORT, why):
            return Diagnosis(f"Model {name} cannot be served: {shown(why)}.", SENTENCES["export"])
    return None


def unknown(evidence: Evidence) -> Diagnosis:
    """No cause is known."""
    if evidence.exit_code is not None:
        cause = f"Triton ended ({ending(evidence.exit_code)}), and its log gives no known reason."
        return Diagnosis(cause, "Read the end of the log.", known=False)
    if evidence.symptom.startswith(NO_PROGRESS):
        remedy = "Read the log. If the models need more time, allow it with --startup-seconds."
        return Diagnosis(f"{shown(evidence.symptom)}.", remedy, known=False)
    cause = f"Triton serves no model: {shown(evidence.symptom) or 'its log gives no known reason'}."
    remedy = "Read the log. On a slow machine, allow more time with --startup-seconds."
    return Diagnosis(cause, remedy, known=False)


def ending(code: int) -> str:
    """How a process ended, by its exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def shown(detail: str) -> str:
    """Triton's text as part of a sentence: one line, short, without the traceback."""
    first = re.split(r"\\n|\n", detail)[0].strip().rstrip(".;, ")
    # Triton puts each message in quotation marks; the closing one may be left.
    first = first.rstrip('"').rstrip(".;, ") if first.count('"') % 2 else first
    return first if len(first) <= LARGEST_DETAIL else first[:LARGEST_DETAIL].rstrip() + "…"
