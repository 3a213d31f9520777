"""Differences of rows of embeddings."""

from __future__ import annotations

import numpy as np
import pytest
from clipserve.tools.verification.compare import alike, difference

ROWS = np.random.default_rng(0).normal(size=(6, 16)).astype(np.float32)


def test_equal_rows_are_good():
    found = difference(ROWS, ROWS, 0.99999)
    assert found.good
    assert found.min_cosine == pytest.approx(1)
    assert found.length_ratio == pytest.approx(1)
    assert found.mistaken_for is None


def test_the_least_cosine_is_that_of_the_worst_row():
    rows = ROWS.copy()
    rows[3] += 0.05
    expected = float(rows[3].astype(float) @ ROWS[3] / np.linalg.norm(rows[3]) / np.linalg.norm(ROWS[3]))
    found = difference(rows, ROWS, 0.99999)
    assert (found.worst, found.good) == (3, False)
    assert found.min_cosine == pytest.approx(expected, abs=1e-6)
    assert difference(rows, ROWS, 0.9).good


def test_exchanged_rows_are_found_and_named():
    found = difference(ROWS[[0, 1, 4, 3, 2, 5]], ROWS, 0.99999)
    assert not found.good
    assert (found.worst, found.mistaken_for) in [(2, 4), (4, 2)]


@pytest.mark.parametrize("factor", [1.1, 0.9, -1])
def test_other_lengths_are_found(factor):
    rows = ROWS.copy()
    rows[2] *= factor
    found = difference(rows, ROWS, 0.99999)
    assert not found.good
    assert found.worst == 2
    assert difference(ROWS * 1.01, ROWS, 0.99999).good


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_rows_without_a_direction_differ_from_everything(bad):
    rows = ROWS.copy()
    rows[4] = bad
    found = difference(rows, ROWS, 0.99999)
    assert not found.good
    assert found.worst == 4


def test_rows_that_are_all_alike_are_told_from_different_ones():
    assert alike(ROWS, 0.99999)[1] is False
    assert alike(np.repeat(ROWS[:1], 6, axis=0), 0.99999)[1] is True
    nearly = np.repeat(ROWS[:1], 6, axis=0) + np.arange(6, dtype=np.float32)[:, None] * 1e-5
    assert alike(nearly, 0.99999)[1] is True
    assert alike(ROWS * np.nan, 0.99999)[1] is True
