"""What a difference looks like, and which texts the gateway checks."""

from __future__ import annotations

import numpy as np
import pytest
from clipserve_exporter.errors import ExportError
from clipserve_exporter.tokenization.proof import Reading, checks, require_equal

READING = Reading(context_length=4, pad_id=9, strip_id=None)


def test_the_first_text_that_differs_is_shown_with_both_ids() -> None:
    expected = np.array([[1, 2, 9, 9], [1, 5, 2, 9]])
    require_equal("t", ["a", "b"], expected, [[1, 2], [1, 5, 2]], READING)
    with pytest.raises(
        ExportError, match=r"for 1 of 2 texts, for example for 'b+…': \[1, 6, 2\], where open_clip has"
    ):
        require_equal("t", ["a", "b" * 100], expected, [[1, 2], [1, 6, 2]], READING)


def test_a_missing_end_is_a_difference_unless_it_is_the_padding() -> None:
    with pytest.raises(ExportError, match="other token ids"):
        require_equal("t", ["a"], np.array([[1, 2, 3, 9]]), [[1, 2]], READING)


def test_checks_are_spread_over_all_kinds_without_the_longest_texts() -> None:
    kinds = {"few": ["a", "b"], "many": [f"c{i}" for i in range(1000)], "long": ["d" * 10_000]}
    chosen = checks(kinds, {text: [len(text)] for texts in kinds.values() for text in texts})
    texts = [check["text"] for check in chosen]
    assert texts[:2] == ["a", "b"]
    assert texts[-1] > "c9"
    assert len(texts) == 18
