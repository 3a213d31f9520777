"""Why a Triton did not start, and what to do: one plain sentence for each.

Pure: nothing is read here.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass

from clipserve_gateway.local.diagnosis_rules import EXPORT, MEMORY, OPEN_FILES, RULES, SHARED_MEMORY

LARGEST_DETAIL = 200
"""Characters of Triton's own words in a sentence."""
SMALL_SHARED_MEMORY = 64 << 20
"""Bytes of /dev/shm below which a crash of Triton is laid to it; Docker's default is as much."""

FEW_OPEN_FILES = 256
"""Open files below which it is laid to their limit that a loaded model is lost."""


@dataclass(frozen=True)
class Evidence:
    """What is known beside the log."""

    exit_code: int | None = None
    """Of Triton; a negative one is a signal. None while it runs."""
    stub_code: int | None = None
    """The same of a Python stub of Triton's that has ended."""
    oom_kills: int = 0
    """Processes that the kernel has killed for want of memory since Triton began."""
    no_avx2: bool = False
    shared_memory: int | None = None
    """Size of /dev/shm in bytes, where it is known."""
    open_files: int | None = None
    """How many files a process may have open, where it is known."""
    symptom: str = ""
    """What was found wrong with Triton's models."""


@dataclass(frozen=True)
class Diagnosis:
    """A cause and a remedy, a sentence each."""

    cause: str
    remedy: str
    port: int = 0
    """The port that is taken, if that is the cause."""
    known: bool = True
    """Whether the log explains the failure. If not, its last lines should be shown."""
    transient: bool = False
    """Whether the same start may succeed when it is tried again."""


NO_ANSWER = (
    r"\bmodel (\S+) does not answer, for \d+ s: (.+?)(?=; model \S+ (?:does not answer|answers wrong), |$)"
)
"""In a symptom: a model, and why it does not answer."""
BAD_EXPORT = (
    r"^the repository has no |^Triton cannot load \S+: (?!unloaded)|: parameter \S+ (?:is|has) |"
    r": the towers disagree on |: fingerprint is not |: text_length is neither "
)
"""Why a model never answers, however long it is given: what `model_config` and `guard.look` say of it."""

Finder = Callable[[str, Evidence], "Diagnosis | None"]


def diagnose(log_text: str, evidence: Evidence) -> Diagnosis:
    """The cause of a failed start."""
    text = f"{log_text}\n{evidence.symptom}"
    for find in (taken_port, full_shared_memory, by_log, lost_race, by_signal, few_open_files, bad_model):
        diagnosis = find(text, evidence)
        if diagnosis:
            return diagnosis
    return unknown(evidence)


def taken_port(text: str, evidence: Evidence) -> Diagnosis | None:
    """Triton could not listen."""
    match = re.search(r"failed to start (\w+) service: .*Socket '[^']*:(\d+)' already in use", text)
    # Triton says the same of a socket that it cannot open for other reasons.
    if not match or "Too many open files" in text:
        return None
    option = {"GRPC": "--triton-port", "HTTP": "--triton-http-port"}.get(match[1], "--triton-metrics-port")
    return Diagnosis(
        f"Port {match[2]} is taken, on which Triton should listen.",
        f"Choose another port with {option}.",
        port=int(match[2]),
    )


def full_shared_memory(text: str, evidence: Evidence) -> Diagnosis | None:
    """What is full is /dev/shm, most likely, if it is small; Triton logs the same of a disk."""
    if "No space left on device" not in text or not has_small_shared_memory(evidence):
        return None
    return Diagnosis(
        f"Triton needs more shared memory: /dev/shm holds only {size_of_shared_memory(evidence)}.",
        SHARED_MEMORY,
    )


def has_small_shared_memory(evidence: Evidence) -> bool:
    """Whether /dev/shm is known to be too small."""
    return evidence.shared_memory is not None and evidence.shared_memory < SMALL_SHARED_MEMORY


def size_of_shared_memory(evidence: Evidence) -> str:
    """The size of /dev/shm, for people."""
    return f"{(evidence.shared_memory or 0) / (1 << 20):.3g} MiB"


def by_log(text: str, evidence: Evidence) -> Diagnosis | None:
    """What a line of the log says."""
    for pattern, cause, remedy in RULES:
        match = re.search(pattern, text)
        if match:
            words = {key: shown(value or "") for key, value in match.groupdict().items()}
            words["path"] = words.get("path") or words.get("before", "")
            return Diagnosis(cause.format_map(words).replace(": .", "."), remedy)
    return None


def lost_race(text: str, evidence: Evidence) -> Diagnosis | None:
    """Triton's Python backend aborts now and then at a lock in shared memory: a known fault of its own.

    See triton-inference-server/server, issue 8882. Little shared memory has the same effect, at every start.
    """
    if "boost::interprocess::lock_exception" not in text or has_small_shared_memory(evidence):
        return None
    return Diagnosis(
        "Triton's Python backend crashed at a lock in shared memory, a known fault of Triton.",
        "Start again.",
        transient=True,
    )


def by_signal(text: str, evidence: Evidence) -> Diagnosis | None:
    """What the end of a process says: of Triton, or of the stub that runs a model."""
    code = evidence.exit_code if evidence.exit_code is not None else evidence.stub_code
    codes = {evidence.exit_code, evidence.stub_code}
    what = "Triton" if evidence.exit_code is not None else "The process of a model"
    if evidence.oom_kills:
        return Diagnosis("Memory ran out: the kernel has killed a process.", MEMORY)
    if -signal.SIGKILL in codes:
        return Diagnosis(f"{what} was killed (SIGKILL), most likely because memory ran out.", MEMORY)
    if -signal.SIGILL in codes:
        lacks = "has no AVX2" if evidence.no_avx2 else "lacks an instruction that it uses"
        return Diagnosis(f"{what} cannot run here: the processor {lacks}.", "Use a newer processor.")
    crashes = {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT}
    if has_small_shared_memory(evidence) and codes & crashes:
        return Diagnosis(
            f"Triton has crashed, and /dev/shm holds only {size_of_shared_memory(evidence)}.",
            SHARED_MEMORY,
        )
    dead = re.search(r"Stub process '(.+?)(?:_\d+)*' is not healthy", text)
    if dead or (evidence.exit_code is None and evidence.stub_code is not None):
        model = f"The process of {dead[1]}" if dead else "The process of a model"
        how = "" if code is None else f" ({ending(code)})"
        return Diagnosis(f"{model} ended while the model was loaded{how}.", f"Start again. {EXPORT}")
    return None


def few_open_files(text: str, evidence: Evidence) -> Diagnosis | None:
    """Triton loses models that were loaded: it cannot open the repository, and does not always say why."""
    few = evidence.open_files is not None and evidence.open_files < FEW_OPEN_FILES
    if not few or not re.search(r"failed to open directory|Triton cannot load \S+: unloaded", text):
        return None
    cause = f"This user may not have as many open files as Triton needs: the limit is {evidence.open_files}."
    return Diagnosis(cause, OPEN_FILES)


def bad_model(text: str, evidence: Evidence) -> Diagnosis | None:
    """A model that does not load, or answers wrong, for whatever reason Triton gives."""
    if evidence.exit_code is not None:
        return None
    match = re.search(r"failed to load '([^']+)' version \d+: (?:Internal|Invalid argument): ([^\n]+)", text)
    if match:
        return Diagnosis(f"Triton cannot load {match[1]}: {shown(match[2])}.", EXPORT)
    match = re.search(r"^model (\S+) answers wrong, for \d+ s: ([^\n]+)", evidence.symptom, re.MULTILINE)
    if match:
        return Diagnosis(f"Model {match[1]} answers wrong: {shown(match[2])}.", EXPORT)
    for name, why in re.findall(NO_ANSWER, evidence.symptom):
        if re.search(BAD_EXPORT, why):
            return Diagnosis(f"Model {name} cannot be served: {shown(why)}.", EXPORT)
    return None


def unknown(evidence: Evidence) -> Diagnosis:
    """The log explains nothing that is known here."""
    if evidence.exit_code is not None:
        cause = f"Triton ended ({ending(evidence.exit_code)}), and its log gives no known reason."
        return Diagnosis(cause, "Read the end of the log.", known=False)
    cause = f"Triton serves no model: {shown(evidence.symptom) or 'its log gives no known reason'}."
    return Diagnosis(
        cause, "Read the log; give a slow machine more time with --startup-seconds.", known=False
    )


def ending(code: int) -> str:
    """How a process ended, by its exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def shown(detail: str) -> str:
    """Triton's own words, as a part of a sentence: without its traceback, in one line, and short."""
    first = re.split(r"\\n|\n", detail)[0].strip().rstrip(".;, ")
    # Triton quotes each message as a whole.
    first = first.rstrip('"').rstrip(".;, ") if first.count('"') % 2 else first
    return first if len(first) <= LARGEST_DETAIL else first[:LARGEST_DETAIL].rstrip() + "…"
