"""The first dimensions of embeddings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from clipserve_gateway.errors import InferenceFailed, InvalidInput
from clipserve_gateway.inference.dimensions import check_dimensions, first_dimensions, normalized
from clipserve_gateway.types import Embedded

from testing.fakes import DIM, SPEC

MATRYOSHKA = dataclasses.replace(SPEC, matryoshka_dims=(2, 4))


@pytest.mark.parametrize("dimensions", [0, DIM])
def test_all_dimensions_need_no_permission(dimensions):
    assert check_dimensions(SPEC, dimensions, allow_truncation=False) == DIM


@pytest.mark.parametrize("dimensions", [2, 4])
def test_dimensions_that_a_model_was_trained_for_need_no_permission(dimensions):
    assert check_dimensions(MATRYOSHKA, dimensions, allow_truncation=False) == dimensions


@pytest.mark.parametrize(
    ("spec", "dimensions", "trained"), [(SPEC, 4, "trained for 8."), (MATRYOSHKA, 3, "trained for 2, 4, 8.")]
)
def test_others_are_refused_until_the_caller_allows_them(spec, dimensions, trained):
    with pytest.raises(InvalidInput, match=trained) as raised:
        check_dimensions(spec, dimensions, allow_truncation=False)
    assert raised.value.field == "dimensions"
    assert "allow_truncation" in str(raised.value)
    assert check_dimensions(spec, dimensions, allow_truncation=True) == dimensions


def test_more_dimensions_than_the_model_has_are_refused_in_any_case():
    with pytest.raises(InvalidInput, match=f"{DIM + 1} is too many.*have {DIM}"):
        check_dimensions(SPEC, DIM + 1, allow_truncation=True)


def test_the_first_numbers_are_kept_with_all_that_is_known_of_the_item():
    item = Embedded(np.arange(DIM, dtype=np.float32), truncated=True, tokens=77)
    first = first_dimensions(item, 3)
    assert first.embedding.tolist() == [0, 1, 2]
    assert (first.truncated, first.tokens) == (True, 77)


def test_first_numbers_that_are_all_zero_have_no_direction():
    item = first_dimensions(Embedded(np.array([0, 0, 1, 0], np.float32)), 2)
    assert isinstance(normalized(item).error, InferenceFailed)


def test_errors_pass_unchanged():
    item = Embedded(error=InvalidInput("bad"))
    assert first_dimensions(item, 2) is item
