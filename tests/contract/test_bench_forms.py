"""The bench of small embeddings: its measures, and the tables in the documents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench import forms

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "bench" / "results" / "forms.json"


def unit(count: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_documents_have_the_figures_of_the_results():
    tables = forms.tables(json.loads(FACTS.read_text()))
    assert f"<!-- forms -->\n\n{tables}\n\n<!-- /forms -->" in (ROOT / "docs" / "embeddings.md").read_text()


def test_the_server_sent_what_was_measured():
    assert json.loads(FACTS.read_text())["equal_share"] >= forms.EQUAL_SHARE


def test_results_are_shown_as_in_the_documents():
    shown = CliRunner().invoke(forms.main, ["show", str(FACTS)])
    assert shown.output == forms.tables(json.loads(FACTS.read_text())) + "\n"


def test_ranks_are_exact_and_leave_out_the_query_itself():
    rows = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.8, 0.6]], np.float32)
    assert forms.ranked(rows[:2], rows, itself=True)[:, :3].tolist() == [[1, 3, 2], [3, 0, 2]]
    assert forms.ranked(rows[:1], rows, itself=False)[0].tolist() == [0, 1, 3, 2]


def test_recall_counts_the_exact_nearest_among_those_found():
    exact = np.arange(100)[np.newaxis]
    assert forms.recall(exact, exact, 10) == 1
    assert forms.recall(exact, np.roll(exact, -5), 10) == 0.5
    assert forms.recall(exact, np.roll(exact, 5), 100) == 1


@pytest.mark.parametrize(
    ("format", "least", "most"), [("float32", 1, 1), ("int8", 0.99, 1), ("binary", 0.7, 0.9)]
)
def test_cosines_tell_how_much_of_the_direction_is_kept(format, least, most):
    whole = unit(50, 64)
    found = forms.cosines(forms.in_form(whole, format, 64), whole)
    assert least - 1e-6 <= found["lowest_cosine"] <= found["cosine"] <= most + 1e-6


def test_of_fewer_dimensions_the_cosine_is_the_length_of_what_is_kept():
    whole = unit(50, 64)
    found = forms.cosines(forms.in_form(whole, "float32", 16), whole)
    assert found["cosine"] == pytest.approx(float(np.linalg.norm(whole[:, :16], axis=1).mean()), abs=1e-6)


def test_all_forms_of_a_collection_are_measured():
    collection = forms.Collection("random", unit(150, 64), unit(5, 64, seed=1))
    facts = forms.measure(collection)
    assert [(row["format"], row["dimensions"], row["bytes"]) for row in facts["forms"]] == [
        ("float32", 64, 256),
        ("float16", 64, 128),
        ("int8", 64, 64),
        ("binary", 64, 8),
        ("float32", 32, 128),
        ("int8", 32, 32),
        ("binary", 32, 4),
        ("float32", 16, 64),
        ("int8", 16, 16),
        ("binary", 16, 2),
    ]
    assert facts["forms"][0]["picture_recall"] == facts["forms"][0]["text_recall"] == 1
    assert facts["forms"][2]["picture_recall"] > facts["forms"][3]["picture_recall"]
