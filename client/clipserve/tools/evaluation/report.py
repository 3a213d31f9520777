"""The contents of a report, independent of its format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipserve.tools.evaluation.run import Evaluation
from clipserve.tools.evaluation.scores import Tally

MATRIX_CLASSES = 40
"""Sets with more classes get lists, as their matrix would be unreadable."""
LISTED = 20
SUFFIXES = (".html", ".png")
BINS = 20


@dataclass(frozen=True)
class ClassRow:
    """The result of one class."""

    name: str
    images: int
    top1: float
    top5: float


@dataclass(frozen=True)
class Mistake:
    """A right class and the class named instead."""

    right: str
    said: str
    images: int
    share: float
    """Share of the right class's pictures, 0 to 1."""


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix."""

    images: int
    share: float
    """Share of its row, 0 to 1."""
    right: bool


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix."""

    columns: Sequence[str]
    """Names of all classes."""
    rows: Sequence[tuple[str, Sequence[Cell]]]
    """For each class with pictures: name, and a cell for each column."""


@dataclass(frozen=True)
class Report:
    """The contents of a report."""

    title: str
    subtitle: str
    figures: Sequence[tuple[str, str]]
    """Name and value of the headline numbers."""
    classes: Sequence[ClassRow]
    """In the order of the set, without classes that have no pictures."""
    mistakes: Sequence[Mistake]
    """The most frequent ones."""
    matrix: Matrix | None
    """None for more than MATRIX_CLASSES classes."""

    def worst(self, count: int) -> list[ClassRow]:
        return sorted(self.classes, key=lambda row: (row.top1, row.top5))[:count]

    def best(self, count: int) -> list[ClassRow]:
        return sorted(self.classes, key=lambda row: (-row.top1, -row.top5))[:count]

    def histogram(self) -> list[int]:
        """Number of classes by top-1 accuracy, in BINS bins from 0 to 1."""
        counts = [0] * BINS
        for row in self.classes:
            counts[min(BINS - 1, int(row.top1 * BINS))] += 1
        return counts


def make_report(evaluation: Evaluation) -> Report:
    tally, model = evaluation.tally, evaluation.model
    rows = [ClassRow(row["class"], row["images"], row["top1"], row["top5"]) for row in tally.per_class()]
    counts = {row.name: row.images for row in rows}
    figures = [
        ("Top-1", percent(tally.accuracy)),
        ("Top-5", percent(tally.accuracy5)),
        ("Images", f"{len(evaluation.predictions):,}"),
        ("Images/s", f"{evaluation.images_per_second:,.1f}"),
    ]
    if tally.failed:
        figures.append(("Failed", f"{tally.failed:,}"))
    if empty := sum(not row.images for row in rows):
        figures.append(("Classes without pictures", f"{empty:,}"))
    prompts = f"{len(evaluation.templates)} template{'s' if len(evaluation.templates) > 1 else ''}"
    setting = f"{len(tally.classes):,} classes, {prompts}"
    return Report(
        title=evaluation.dataset,
        subtitle=f"model {model.name} · {model.fingerprint[:12]} · zero-shot · {setting}",
        figures=figures,
        classes=[row for row in rows if row.images],
        mistakes=[
            Mistake(
                mistake["class"],
                mistake["predicted"],
                mistake["images"],
                mistake["images"] / max(1, counts[mistake["class"]]),
            )
            for mistake in tally.confusions(LISTED)
        ],
        matrix=make_matrix(tally) if len(tally.classes) <= MATRIX_CLASSES else None,
    )


def make_matrix(tally: Tally) -> Matrix:
    rows = []
    for i, name in enumerate(tally.classes):
        counts = [int(count) for count in tally.confusion[i]]
        total = sum(counts)
        if total:
            rows.append((name, [Cell(n, n / total, i == j) for j, n in enumerate(counts)]))
    return Matrix(tally.classes, rows)


def percent(share: float) -> str:
    """A share in percent; a dash for NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def write_report(evaluation: Evaluation, path: Path) -> None:
    """Writes the report as .html (one file) or .png. Raises ValueError for other suffixes."""
    report = make_report(evaluation)
    if path.suffix == ".html":
        from clipserve.tools.evaluation.report_html import report_html

        path.write_text(report_html(report), encoding="utf-8")
    elif path.suffix == ".png":
        from clipserve.tools.evaluation.report_png import report_png

        report_png(report).save(path, "PNG")
    else:
        raise ValueError(f"reports are written as .html or .png, not as {path.name!r}")
