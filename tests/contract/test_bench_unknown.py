"""The bench of what does not fit: its measures, its pictures of nothing, and how figures are shown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from bench import unknown


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    assert unknown.auroc([3, 4], [1, 2]) == 1
    assert unknown.auroc([1, 2], [3, 4]) == 0
    assert unknown.auroc([1, 3], [2, 2]) == 0.5
    assert unknown.auroc([1], [1]) == 0.5


def test_fpr95_is_the_share_of_unknown_pictures_below_the_bound_that_keeps_95_percent() -> None:
    known = np.linspace(0, 1, 101)
    assert unknown.fpr95(np.array([0.9, 0.94, 0.96, 2.0]), known) == 0.5
    assert unknown.fpr95(np.array([2.0]), known) == 0
    assert unknown.fpr95(np.array([-1.0]), known) == 1


def test_there_are_16_different_pictures_of_nothing() -> None:
    found = unknown.no_pictures()
    assert len(found) == len(set(found.values())) == 16
    for content in found.values():
        assert Image.open(io.BytesIO(content)).convert("RGB").size == (224, 224)
    assert found == unknown.no_pictures(), "the same each time"


def test_figures_are_shown(tmp_path: Path) -> None:
    row = {"auroc": 0.9, "fpr95": 0.4, "known_called_none": 0.1, "unknown_called_none": 0.8}
    split = row | {"labels": ["cat", "dog"]}
    search = {"pictures": 1_000, "known": 10, "unknown": 16, "auroc": 0.987}
    search |= {"known_called_weak": 0.05, "unknown_called_weak": 0.95}
    facts = {
        "model": "demo",
        "search": {"demo pictures": search},
        "classify": {
            "pictures": 3_000,
            "negative words": {"mean": unknown.mean([split, split | {"auroc": 0.8}]), "splits": [split]},
            "no_class_called_none": {"noise": False, "white": True},
        },
    }
    (tmp_path / "unknown.json").write_text(json.dumps(facts))
    shown = CliRunner().invoke(unknown.main, ["show", str(tmp_path / "unknown.json")]).output
    assert "| demo pictures | 1,000 | 10, 16 | 0.987 | 5%, 95% |" in shown
    assert "| negative words | 0.850 | 0.400 | 10%, 80% |" in shown
    assert "1 of 2" in shown
    assert "not: noise" in shown
