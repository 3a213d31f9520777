"""The zoo's list of pairs is what the installed open_clip says."""

from __future__ import annotations

import json

import open_clip
import pytest
from clipserve_exporter.torchvision_shim import make_importable

make_importable()

from zoo import facts  # noqa: E402

LISTED = json.loads(facts.PAIRS.read_text())


def test_it_has_the_pairs_of_the_installed_open_clip():
    assert LISTED["open_clip"] == open_clip.__version__
    assert [(pair["architecture"], pair["tag"]) for pair in LISTED["pairs"]] == open_clip.list_pretrained()


@pytest.mark.slow
def test_it_has_their_facts():
    assert facts.pairs() == LISTED["pairs"]
