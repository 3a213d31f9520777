"""Hostile names in what the command writes: sheets, reports and tables of predictions."""

from __future__ import annotations

import csv
import re

import pytest
from client.pictures import png
from clipserve.safe_text import UNSAFE_BUT_LINES
from clipserve.tools.evaluation.dataset import Dataset, Sample
from clipserve.tools.evaluation.predictions import cell, write_predictions
from clipserve.tools.evaluation.report import make_report
from clipserve.tools.evaluation.report_html import report_html
from clipserve.tools.evaluation.report_png import report_png
from clipserve.tools.evaluation.run import Evaluator
from clipserve.tools.sheets.contact_sheet import write_sheet
from clipserve.tools.sheets.drawing import MAX_CHARACTERS
from clipserve.tools.sheets.entries import Entry, Sheet
from clipserve.tools.sheets.group_sheet import GroupSheet, Row, write_group_sheet

NAMES = [
    "a\x1b]52;c;eA==\x07",
    "two\nlines\r\n",
    "turned\u202eletters",
    "half\udc80",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    "&amp;",
    "",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_sheets_are_written_whatever_the_names_are(tmp_path, name, suffix):
    picture = tmp_path / "a.png"
    picture.write_bytes(png(1))
    entries = [Entry(name, 0.5, picture, note=name, duplicates=[Entry(name, 0.4, picture)])]
    write_sheet(Sheet(name, name, entries, query=picture), tmp_path / f"sheet{suffix}")
    write_group_sheet(GroupSheet(name, name, [Row(entries)]), tmp_path / f"groups{suffix}")
    if suffix == ".html":
        for file in ("sheet.html", "groups.html"):
            page = (tmp_path / file).read_text()
            assert UNSAFE_BUT_LINES.search(page) is None
            assert "<script" not in page
            assert "onmouseover='" not in page


def test_of_a_very_long_name_only_the_beginning_is_fitted(tmp_path, monkeypatch):
    lengths = []

    def noting(text, width, size):
        lengths.append(len(text))
        return text[:10]

    monkeypatch.setattr("clipserve.tools.sheets.drawing.fitted", noting)
    write_sheet(Sheet("x" * 2_000_000, "", [Entry("x" * 2_000_000, 0.5, None)]), tmp_path / "a.png")
    assert max(lengths) == MAX_CHARACTERS


def evaluation(client, classes):
    samples = [Sample(name, png(i), i % len(classes)) for i, name in enumerate(NAMES)]
    evaluator = Evaluator(client, Dataset(NAMES[4], tuple(classes), samples))
    evaluator.encode_labels()
    return evaluator.run(lambda done: None)


def test_reports_are_written_whatever_the_classes_are_called(client, tmp_path):
    report = make_report(evaluation(client, ["two\nlines", "a\x1b[31m", '"><script>']))
    page = report_html(report)
    assert UNSAFE_BUT_LINES.search(page) is None
    assert "<script" not in page
    assert report_png(report).width > 100


def test_percentages_of_a_report_are_not_wrapped(client):
    page = report_html(make_report(evaluation(client, ["one", "two"])))
    assert re.search(r"\.share, \.number \{[^}]*white-space: nowrap", page)
    assert page.count('<span class="share"><span class="bar">') >= 2


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_cell_that_a_spreadsheet_would_run_is_marked_as_text(text):
    assert cell(text) == f"'{text}"


def test_predictions_hold_no_formula(client, tmp_path):
    result = evaluation(client, ["=cmd|' /C calc'!A0", "@a"])
    write_predictions(result, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(NAMES)
    for row in rows:
        for column in ("name", "label_name", "predicted_name", "error"):
            assert not row[column].startswith(("=", "+", "-", "@", "\t", "\r", "\n")), row
