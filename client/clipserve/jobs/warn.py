"""Warnings of the SDK. Each names the caller's line of code, not one of this package."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

from clipserve.errors import InputWarning, LabelsWarning
from clipserve.inputs.text_checks import TextCheck
from clipserve.labels import LabelSet
from clipserve.types import LabelWarning


def warn_of_texts(check: TextCheck) -> None:
    """Gives an InputWarning if texts of a call do not look like words."""
    if message := check.warning():
        warn(message, InputWarning)


def warn_of_labels(label_warnings: Iterable[LabelWarning]) -> None:
    """Gives a LabelsWarning for each warning of the server."""
    for label_warning in label_warnings:
        warn(label_warning.message, LabelsWarning)


def check_label_names(labels: LabelSet) -> TextCheck:
    """Checks the names of a label set."""
    check = TextCheck()
    for i, name in enumerate(labels.names):
        check.add(f"labels[{i}]", name)
    return check


def warn(message: str, kind: type[Warning]) -> None:
    """Gives a warning for the line outside of this package that made the call."""
    level = 1
    frame = sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).split(".")[0] == "clipserve":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, kind, stacklevel=level)
