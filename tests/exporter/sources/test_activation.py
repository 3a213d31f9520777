"""Which activation the weights of a tag have."""

from __future__ import annotations

import open_clip
import pytest
from clipserve_exporter.sources.activation import of_tag
from open_clip import pretrained


@pytest.mark.parametrize(
    ("name", "tag", "quick"),
    [
        ("ViT-B-32", "openai", True),
        ("ViT-B-32-quickgelu", "openai", True),
        ("ViT-B-32", "laion2b_s34b_b79k", False),
        ("RN50", "cc12m", True),
        # Its tag does not tell, and the architecture has QuickGELU.
        ("roberta-ViT-B-32", "laion2b_s12b_b32k", True),
    ],
)
def test_the_activation_is_the_one_that_open_clip_builds(name: str, tag: str, quick: bool) -> None:
    config, tag_config = open_clip.get_model_config(name), pretrained.get_pretrained_cfg(name, tag)
    assert of_tag(name, config, tag_config, open_clip.list_models()) is quick
