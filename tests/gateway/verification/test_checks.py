"""Pixels and token ids against recorded ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from clipserve_gateway.inputs.tokenizer import tokenizer_for
from clipserve_gateway.types import Preprocess, Tokens
from clipserve_gateway.verification.checks import check_ids, check_model, check_pixels
from clipserve_gateway.verification.golden import Golden, golden_of

from testing.fakes import SPEC
from testing.golden_files import golden_entries

GOLDEN = golden_of(golden_entries())


def tokens(golden: Golden = GOLDEN) -> list[Tokens]:
    return tokenizer_for(SPEC.tokenizer).encode([text.text for text in golden.texts])


def with_picture(**changes: object) -> Golden:
    """The golden file with another first picture."""
    first, *rest = GOLDEN.pictures
    return dataclasses.replace(GOLDEN, pictures=(dataclasses.replace(first, **changes), *rest))


@pytest.mark.parametrize(
    "preprocess",
    [
        SPEC.preprocess,
        Preprocess(20, 32, resize="longest", interpolation="bilinear", fill=127),
        Preprocess(24, 24, resize="squash"),
    ],
)
def test_equal_pixels_pass(preprocess):
    golden = golden_of(golden_entries(preprocess))
    checks = list(check_pixels(golden, golden.preprocess))
    assert [(check.name, check.status) for check in checks] == [
        ("pixels of a.jpg", "passed"),
        ("pixels of b.png", "passed"),
    ]


def test_pixels_of_another_filter_fail_with_how_far_they_are_apart():
    other = dataclasses.replace(SPEC.preprocess, interpolation="bilinear")
    for check in check_pixels(GOLDEN, other):
        assert check.status == "failed"
        assert "of 255 apart" in check.detail
        assert check.remedy


def test_pixels_of_another_size_fail_with_the_sizes():
    for check in check_pixels(GOLDEN, Preprocess(32, 32)):
        assert check.status == "failed"
        assert "the size differs" in check.detail


def test_a_difference_outside_the_sample_is_found():
    first, second = check_pixels(with_picture(sha256="0" * 64), SPEC.preprocess)
    assert first.status == "failed"
    assert "equal in a sample" in first.detail
    assert second.status == "passed"


def test_a_picture_that_cannot_be_decoded_fails_alone():
    first, second = check_pixels(with_picture(content=b"junk"), SPEC.preprocess)
    assert first.status == "failed"
    assert "not an image" in first.detail
    assert second.status == "passed"


def test_equal_ids_pass():
    checks = list(check_ids(GOLDEN, SPEC.tokenizer, tokens()))
    assert {check.status for check in checks} == {"passed"}
    assert checks[0].detail == "'a photo of a cat': 7 equal ids"


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (
            lambda ids: np.append(ids[:-1], [7, ids[-1]]),
            "2 ids differ, first at position 6: 7 instead of 49407",
        ),
        (lambda ids: ids[:-1], "1 ids differ, first at position 6: 0 instead of 49407"),
        (lambda ids: np.tile(ids, 20), "140 ids, more than the context of 77"),
    ],
)
def test_other_ids_fail_with_the_first_difference(change, detail):
    first, *rest = tokens()
    first = Tokens(change(first.ids), first.truncated)
    check, *others = check_ids(GOLDEN, SPEC.tokenizer, [first, *rest])
    assert check.status == "failed"
    assert detail in check.detail
    assert check.remedy
    assert {other.status for other in others} == {"passed"}


@pytest.mark.parametrize("position", [0, 2])
def test_wrong_flags_of_truncation_fail(position):
    found = tokens()
    found[position] = Tokens(found[position].ids, not found[position].truncated)
    checks = list(check_ids(GOLDEN, SPEC.tokenizer, found))
    assert [i for i, check in enumerate(checks) if check.status == "failed"] == [position]
    assert "reported as truncated" in checks[position].detail


def test_padding_is_that_of_the_tokenizer():
    padded = dataclasses.replace(SPEC.tokenizer, pad_id=5)
    short, empty, full = check_ids(GOLDEN, padded, tokens())
    assert (short.status, empty.status, full.status) == ("failed", "failed", "passed")


def test_a_served_model_must_be_the_recorded_one():
    assert {check.status for check in check_model(SPEC, GOLDEN)} == {"passed"}
    for name, change in (
        ("fingerprint", {"fingerprint": "0" * 64}),
        ("preprocessing", {"preprocess": dataclasses.replace(SPEC.preprocess, resize="squash")}),
        ("tokenizer", {"tokenizer": dataclasses.replace(SPEC.tokenizer, context_length=32)}),
    ):
        checks = list(check_model(dataclasses.replace(SPEC, **change), GOLDEN))
        assert [check.name for check in checks if check.status == "failed"] == [name]
        assert all(check.remedy for check in checks if check.status == "failed")
