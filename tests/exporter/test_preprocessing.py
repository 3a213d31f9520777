from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from clipserve_exporter.errors import ExportError
from clipserve_exporter.preprocessing import Preprocess, preprocess_of

GOOD: dict[str, Any] = {"size": 32, "mean": [0, 0.5, 1], "std": (0.5, 0.5, 1), "fill_color": None}


def read(**changes: Any) -> Preprocess:
    return preprocess_of(SimpleNamespace(visual=SimpleNamespace(preprocess_cfg=GOOD | changes)))


def test_numbers_are_kept_as_they_are() -> None:
    preprocess = read(size=[16, 32], resize_mode="longest", fill_color=3)
    assert preprocess == Preprocess(16, 32, (0, 0.5, 1), (0.5, 0.5, 1), "longest", "bicubic", 3)
    assert repr(preprocess.mean) == "(0, 0.5, 1)", "the fingerprint depends on the form"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"size": 0}, "size 0; it must be one or two whole numbers from 1 to 4096"),
        ({"size": 1 << 20}, "size 1048576; it must be"),
        ({"size": [32, 32, 32]}, r"size \[32, 32, 32\]; it must be"),
        ({"size": "32"}, "size '32'; it must be"),
        ({"size": [32, 32.5]}, "it must be one or two whole numbers"),
        ({"std": [0.5, 0, 0.5]}, "std .* it must be three finite numbers above 0"),
        ({"std": [0.5, -1, 0.5]}, "std .* above 0"),
        ({"std": 0.5}, "std 0.5; it must be"),
        ({"mean": [0.5, float("nan"), 0.5]}, "mean .* it must be three finite numbers"),
        ({"mean": [0.5, True, 0.5]}, "mean .* it must be three finite numbers"),
        ({"mean": [0.5]}, r"mean \[0.5\]; it must be three"),
        ({"fill_color": 256}, "fill_color 256; it must be a whole number from 0 to 255"),
        ({"resize_mode": ["squash"]}, r"resize_mode \['squash'\]; supported are"),
    ],
)
def test_what_no_gateway_can_do_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        read(**changes)
