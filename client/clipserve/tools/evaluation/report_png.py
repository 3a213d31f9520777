"""The report as a PNG picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from clipserve.safe_text import one_line
from clipserve.tools.evaluation.report import BINS, ClassRow, Matrix, Mistake, Report, percent
from clipserve.tools.sheets.drawing import (
    ACCENT,
    CARD,
    INK,
    LINE,
    MAX_CHARACTERS,
    MUTED,
    PAPER,
    WRONG,
    heat,
    rounded,
    write,
)
from clipserve.tools.sheets.fonts import UNKNOWN_NOTE, has_unknown, width_of

MARGIN = 48
CELL = 54
GAP = 2
ROW = 26
COLUMN = 560


def report_png(report: Report) -> Image.Image:
    if report.matrix is not None:
        return matrix_png(report, report.matrix)
    return lists_png(report)


def canvas(report: Report, width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A white image with title and numbers at the top, HEAD pixels high."""
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    write(draw, (MARGIN, 78), report.title, 34, bold=True, width=width - 2 * MARGIN)
    write(draw, (MARGIN, 108), report.subtitle, 16, MUTED, width=width - 2 * MARGIN)
    if any(has_unknown(row.name[:MAX_CHARACTERS]) for row in report.classes):
        write(draw, (MARGIN, 126), UNKNOWN_NOTE, 12, MUTED, width=width - 2 * MARGIN)
    step = min(190, (width - 2 * MARGIN) // max(1, len(report.figures)))
    for i, (name, value) in enumerate(report.figures):
        left = MARGIN + i * step
        rounded(image, (left, 132, left + step - 14, 212), 10, CARD)
        write(draw, (left + 16, 172), value, 26, bold=True, width=step - 40)
        write(draw, (left + 16, 198), name, 15, MUTED)
    return image, draw


HEAD = 240


def matrix_png(report: Report, matrix: Matrix) -> Image.Image:
    """The confusion matrix: rows are right classes, columns are named classes."""
    columns = matrix.columns
    cell = CELL if len(columns) <= 20 else 34
    text = 15 if cell == CELL else 11
    longest = max((width_of(one_line(name[:MAX_CHARACTERS]), 16) for name in columns), default=0)
    label = int(min(240, longest)) + 20
    left, top = MARGIN + label, HEAD + 30 + label
    width = max(left + len(columns) * cell + 96 + MARGIN, 4 * 190 + 2 * MARGIN)
    image, draw = canvas(report, width, top + len(matrix.rows) * cell + MARGIN + 36)
    for j, name in enumerate(columns):
        upright(image, name, label - 12, (left + j * cell + cell // 2, top - 8))
    write(draw, (left + len(columns) * cell + 14, top - 10), "top-1", 15, MUTED)
    for i, (name, row) in enumerate(matrix.rows):
        middle = top + i * cell + cell // 2
        write(draw, (left - 12, middle), name, 16, anchor="rm", width=label - 12)
        for j, entry in enumerate(row):
            background, ink = heat(entry.share, right=entry.right)
            x, y = left + j * cell, top + i * cell
            box = (x, y, x + cell - GAP, y + cell - GAP)
            rounded(image, box, 4, background if entry.images else CARD)
            if entry.images:
                write(draw, (x + (cell - GAP) / 2, middle), f"{entry.images:,}", text, ink, anchor="mm")
        right = next(entry.share for entry in row if entry.right)
        write(draw, (left + len(columns) * cell + 14, middle), percent(right), 15, INK, anchor="lm")
    note = "Rows: right class. Columns: class named by the model. Colors: share of the row."
    write(draw, (MARGIN, image.height - MARGIN + 4), note, 14, MUTED)
    return image


def upright(image: Image.Image, text: str, length: int, at: tuple[int, int]) -> None:
    """Writes a line upwards; `at` is the center of its lower end."""
    line = Image.new("RGB", (max(1, length), 24), PAPER)
    write(ImageDraw.Draw(line), (2, 12), text, 16, anchor="lm", width=length - 4)
    turned = line.rotate(90, expand=True)
    image.paste(turned, (at[0] - turned.width // 2, at[1] - turned.height))


def lists_png(report: Report) -> Image.Image:
    """A histogram of accuracies, the hardest classes and the most frequent mistakes."""
    worst, mistakes = report.worst(20), list(report.mistakes)
    tall = max(len(worst), len(mistakes))
    below = HEAD + 300
    width = 2 * COLUMN + 2 * MARGIN + 40
    image, draw = canvas(report, width, below + 50 + tall * ROW + MARGIN)
    draw_histogram(draw, report.histogram(), (MARGIN, HEAD + 30, width - MARGIN, HEAD + 220))
    write(draw, (MARGIN, HEAD + 268), "Classes by their top-1 accuracy", 14, MUTED)
    write(draw, (MARGIN, below + 24), "Hardest classes", 20, bold=True)
    for i, row in enumerate(worst):
        class_line(image, draw, row, (MARGIN, below + 50 + i * ROW))
    right = MARGIN + COLUMN + 40
    write(draw, (right, below + 24), "Most frequent mistakes", 20, bold=True)
    for i, mistake in enumerate(mistakes):
        mistake_line(draw, mistake, (right, below + 50 + i * ROW))
    return image


def draw_histogram(draw: ImageDraw.ImageDraw, counts: Sequence[int], box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    step, most = (right - left) / BINS, max(1, *counts)
    for i, count in enumerate(counts):
        x, y = left + i * step, bottom - (bottom - top) * count / most
        if count:
            draw.rectangle((x + 3, y, x + step - 3, bottom), ACCENT)
            write(draw, (x + step / 2, y - 5), f"{count}", 14, MUTED, anchor="ms")
    draw.line((left, bottom, right, bottom), LINE, 2)
    for mark in range(0, 101, 20):
        x = left + (right - left) * mark / 100
        anchor = "ls" if mark == 0 else "rs" if mark == 100 else "ms"
        write(draw, (x, bottom + 20), f"{mark} %", 14, MUTED, anchor=anchor)


def class_line(image: Image.Image, draw: ImageDraw.ImageDraw, row: ClassRow, at: tuple[int, int]) -> None:
    x, y = at
    write(draw, (x, y + 16), row.name, 15, width=250)
    rounded(image, (x + 265, y + 6, x + 445, y + 16), 5, CARD)
    if row.top1 > 0:
        rounded(image, (x + 265, y + 6, x + 265 + max(10, 180 * row.top1), y + 16), 5, ACCENT)
    write(draw, (x + 525, y + 16), percent(row.top1), 15, anchor="rs")


def mistake_line(draw: ImageDraw.ImageDraw, mistake: Mistake, at: tuple[int, int]) -> None:
    x, y = at
    write(draw, (x, y + 16), mistake.right, 15, width=200)
    write(draw, (x + 212, y + 16), "named", 13, MUTED)
    write(draw, (x + 260, y + 16), mistake.said, 15, WRONG, width=200)
    write(draw, (x + 545, y + 16), f"{mistake.images:,}  ({percent(mistake.share)})", 15, anchor="rs")
