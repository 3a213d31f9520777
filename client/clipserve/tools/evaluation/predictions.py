"""Writes the prediction of each picture, for comparison with other runs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from clipserve.tools.evaluation.run import Evaluation
from clipserve.tools.evaluation.scores import Prediction

COLUMNS = (
    "index",
    "name",
    "label",
    "predicted",
    "second",
    "cosine1",
    "cosine2",
    "label_name",
    "predicted_name",
    "error",
)
SUFFIXES = (".csv", ".npz")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters of cells that spreadsheets run as formulas."""


def write_predictions(evaluation: Evaluation, path: Path) -> None:
    """Writes a row for each picture: right class, best two classes and their cosines, as .csv or .npz.

    The .npz has arrays of the same names (classes int32, −1 if missing; cosines float32, NaN if missing) and
    `classes`, `templates`, `model` and `fingerprint`.
    """
    if path.suffix == ".csv":
        write_csv(evaluation, path)
    elif path.suffix == ".npz":
        write_npz(evaluation, path)
    else:
        raise ValueError(f"predictions are written as .csv or .npz, not as {path.name!r}")


def write_csv(evaluation: Evaluation, path: Path) -> None:
    classes = evaluation.tally.classes
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for i, prediction in enumerate(evaluation.predictions):
            first, second = best_two(prediction)
            cosines = [f"{cosine:.9g}" for cosine in prediction.cosines[:2]]
            writer.writerow(
                (
                    i,
                    cell(prediction.name),
                    prediction.label,
                    first if first >= 0 else "",
                    second if second >= 0 else "",
                    *[*cosines, "", ""][:2],
                    cell(classes[prediction.label]),
                    cell(classes[first]) if first >= 0 else "",
                    cell(prediction.error),
                )
            )


def cell(text: str) -> str:
    """The text, with an apostrophe in front if a spreadsheet would run it as a formula."""
    text = text.encode(errors="replace").decode()
    return f"'{text}" if text.startswith(FORMULA) else text


def write_npz(evaluation: Evaluation, path: Path) -> None:
    predictions = evaluation.predictions
    cosines = [(*p.cosines[:2], np.nan, np.nan)[:2] for p in predictions]
    table = np.array(cosines, np.float32).reshape(-1, 2)
    classes = np.array([best_two(p) for p in predictions], np.int32).reshape(-1, 2)
    np.savez_compressed(
        path,
        name=np.array([p.name for p in predictions]),
        label=np.array([p.label for p in predictions], np.int32),
        predicted=classes[:, 0],
        second=classes[:, 1],
        cosine1=table[:, 0],
        cosine2=table[:, 1],
        classes=np.array(evaluation.tally.classes),
        templates=np.array(evaluation.templates),
        model=np.array(evaluation.model.name),
        fingerprint=np.array(evaluation.model.fingerprint),
    )


def best_two(prediction: Prediction) -> tuple[int, int]:
    """The best two classes, −1 if missing."""
    first, second = (*prediction.ranked[:2], -1, -1)[:2]
    return first, second
