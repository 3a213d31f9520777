"""docs/models.md says what the zoo measured, and has a line for every pair of open_clip."""

from __future__ import annotations

import json
import re

import pytest

from testing.service import ROOT
from zoo import document, proofs, results
from zoo.rows import ALL, BY_NAME, QUICK

DEMO = ROOT / "exporter" / "clipserve_exporter" / "demo" / "model.json"

RESULTS = results.read()
PAIRS = proofs.pairs()
COVERED = proofs.covered(RESULTS)


def test_the_document_is_what_the_zoo_writes():
    assert document.DOCUMENT.read_text() == document.render(), "run: .venv/bin/python -m zoo.document"


def test_every_pair_has_a_row_or_a_reason():
    text = document.DOCUMENT.read_text().partition("## All pairs")[2]
    lines = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (\[[^\]]+\]\(#measured\)|[^|]+) \| \d+ \|", text, re.M)
    assert sorted((name, tag) for name, tag, _ in lines) == sorted(
        (pair["architecture"], pair["tag"]) for pair in PAIRS
    )
    assert all(handling.strip() for _, _, handling in lines)


def test_rows_stand_only_for_pairs_of_their_kind():
    for pair, proof in COVERED:
        assert bool(proof.row) != bool(proof.reason)
        if proof.row:
            assert RESULTS[proof.row]["passed"]
            assert RESULTS[proof.row]["key"] == pair["key"]


def test_every_pair_has_a_row():
    assert [(pair["architecture"], pair["tag"]) for pair, proof in COVERED if not proof.row] == []


def test_a_pair_with_another_activation_names_the_architecture_that_has_it():
    known = {pair["architecture"] for pair in PAIRS}
    switched = [pair["architecture"] for pair in PAIRS if pair["other_activation"]]
    assert switched
    assert {proofs.sibling(name) for name in switched} <= known


def test_a_row_that_did_not_pass_stands_for_no_pair():
    name = next(proof.row for _, proof in COVERED if proof.row)
    broken = {key: row | {"passed": row["key"] != RESULTS[name]["key"]} for key, row in RESULTS.items()}
    assert name not in {proof.row for _, proof in proofs.covered(broken)}
    assert any(proof.reason.startswith("no row") for _, proof in proofs.covered(broken))


def test_results_are_of_known_rows():
    assert [name for name in RESULTS if name not in BY_NAME] == []


def test_there_are_rows_of_thirty_architectures():
    assert len({row.architecture for row in ALL}) >= 30


def test_published_figures_are_of_known_pairs():
    tags = {(pair["architecture"], pair["tag"]) for pair in PAIRS}
    published = proofs.published()
    assert len(published) > 100
    assert set(published) <= tags
    figures = [float(row[key]) for row in published.values() for key in document.FIGURES if row[key]]
    assert all(0 < figure <= 100 for figure in figures)


def test_the_demo_and_the_rows_of_the_tests_have_every_kind_of_preprocessing():
    by_pair = {(pair["architecture"], pair["tag"]): pair for pair in PAIRS}
    quick = [
        by_pair[BY_NAME[name].architecture, BY_NAME[name].tag] | BY_NAME[name].preprocess for name in QUICK
    ]
    kinds = {(pair["resize"], pair["interpolation"]) for pair in PAIRS}
    demo = json.loads(DEMO.read_text())["preprocess_cfg"]
    kinds_of_tests = {(pair["resize"], pair["interpolation"]) for pair in quick}
    assert kinds_of_tests | {(demo["resize_mode"], demo["interpolation"])} == kinds
    assert len({pair["tokenizer"] for pair in quick}) == len(QUICK)


@pytest.mark.parametrize(
    ("architecture", "family"),
    [
        ("ViT-B-32", "ViT"),
        ("ViT-B-16-SigLIP-i18n-256", "SigLIP"),
        ("ViT-gopt-16-SigLIP2-256", "SigLIP 2"),
        ("RN50-quickgelu", "ResNet of OpenAI's CLIP"),
        ("xlm-roberta-large-ViT-H-14", "Text towers of other libraries"),
        ("ViT-H-14-worldwide-quickgelu", "MetaCLIP 2"),
    ],
)
def test_families_are_told_by_names(architecture, family):
    assert document.family_of(architecture) == family
