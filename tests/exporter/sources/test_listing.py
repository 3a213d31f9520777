"""The list has all of open_clip's published weights, and a reason for each that cannot be exported."""

from __future__ import annotations

import open_clip
import pytest
from clipserve_exporter.sources import listing
from clipserve_exporter.sources.listing import lines, obstacle, pairs


def test_the_list_has_every_pair_once() -> None:
    found = [(pair.model, pair.pretrained) for pair in pairs()]
    assert found == open_clip.list_pretrained()
    assert len(found) == len(set(found)) >= 196


def test_a_pair_that_cannot_be_exported_has_a_reason() -> None:
    for pair in pairs():
        assert pair.exportable == (not pair.reason)


@pytest.mark.parametrize(
    "pair", [("ViT-B-32", "openai"), ("ViT-B-32", "laion2b_s34b_b79k"), ("RN50", "yfcc15m")]
)
def test_weights_are_listed_under_either_name_of_their_activation(pair: tuple[str, str]) -> None:
    exportable = {(pair.model, pair.pretrained) for pair in pairs() if pair.exportable}
    assert pair in exportable


def test_preprocessing_that_the_gateway_does_not_have_is_a_reason() -> None:
    assert obstacle("ViT-B-32", {"interpolation": "random"}).startswith("the model's preprocessing has")
    assert obstacle("ViT-B-32", {"resize_mode": "longest"}) == ""


def test_every_license_has_its_source() -> None:
    for pair in pairs():
        assert (pair.license == "unknown") == (not pair.license_source)


def test_the_table_has_a_line_for_each_pair_and_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "obstacle", lambda model, _: "too odd" if model == "RN50" else "")
    head, *rows, total = lines()
    assert head.split() == ["model", "pretrained", "license", "export"]
    assert len(rows) == len(open_clip.list_pretrained())
    assert any(row.split()[:3] == ["ViT-B-32", "openai", "mit"] and row.endswith("  yes") for row in rows)
    assert rows[0].endswith("no: too odd")
    assert total.startswith(f"{len(rows) - 3} of {len(rows)} can be exported")
