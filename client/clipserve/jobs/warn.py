"""Warnings that the SDK gives, as Python does: they name the line of the caller."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

from clipserve.errors import InputWarning, LabelsWarning
from clipserve.inputs.text_checks import TextCheck
from clipserve.labels import LabelSet
from clipserve.types import LabelWarning


def warn_of_texts(check: TextCheck) -> None:
    """InputWarning where texts of a call look like something else."""
    if sentence := check.sentence():
        warn(sentence, InputWarning)


def warn_of_labels(found: Iterable[LabelWarning]) -> None:
    """LabelsWarning for each thing that is to be known of labels."""
    for warning in found:
        warn(warning.message, LabelsWarning)


def label_check(labels: LabelSet) -> TextCheck:
    """A look at the names of a label set."""
    check = TextCheck()
    for i, name in enumerate(labels.names):
        check.see(f"labels[{i}]", name)
    return check


def warn(message: str, kind: type[Warning]) -> None:
    """Gives a warning at the line outside of this package from which the call came."""
    level = 1
    frame = sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).split(".")[0] == "clipserve":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, kind, stacklevel=level)
