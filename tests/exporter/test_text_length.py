"""Which length texts are encoded at, and that a proof decides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from clipserve_exporter import text_length
from clipserve_exporter.source import Source
from clipserve_exporter.text_length import TOLERANCE, largest_difference, text_length_of
from clipserve_exporter.text_tower import TextTower
from clipserve_exporter.tokenizer_facts import TokenizerFacts
from torch import Tensor, nn

Narrow = Callable[..., Source]
SIGLIP = {
    "context_length": 64, "vocab_size": 1000, "no_causal_mask": True, "pool_type": "last", "proj_bias": True,
}  # fmt: skip
COCA = {
    "custom_text": True,
    "vision_cfg": {"output_tokens": True},
    "text_cfg": {"embed_cls": True, "output_tokens": True, "context_length": 76},
    "multimodal_cfg": {"context_length": 76, "width": 64, "heads": 2, "layers": 1},
}


@pytest.mark.parametrize(
    ("changes", "handling"),
    [
        pytest.param({}, "ragged", id="CLIP"),
        pytest.param({"custom_text": True, "text_cfg": {"context_length": 32}}, "ragged", id="EVA, PE"),
        pytest.param({"text_cfg": {"pool_type": "eos", "vocab_size": 1000}}, "ragged", id="MetaCLIP 2"),
        pytest.param({"text_cfg": {"vocab_size": 1000, "qk_norm": True}}, "ragged", id="own attention"),
        pytest.param(COCA, "masked", id="CoCa"),
        pytest.param({"text_cfg": {"no_causal_mask": True}, "custom_text": True}, "fixed", id="MobileCLIP"),
        pytest.param({"text_cfg": SIGLIP, "custom_text": True}, "fixed", id="SigLIP"),
        pytest.param({"text_cfg": SIGLIP | {"context_length": 32}}, "fixed", id="CLIPA"),
        pytest.param({"text_cfg": {"pool_type": "last"}}, "fixed", id="causal, last token"),
        pytest.param({"text_cfg": {"pool_type": "first", "no_causal_mask": True}}, "fixed", id="first token"),
    ],
)
def test_each_kind_of_tower_has_its_cheapest_exact_length(
    narrow_tower: Narrow, changes: dict, handling: str
) -> None:
    source = narrow_tower(**changes)
    assert text_length_of(source).handling == handling


def test_the_full_length_can_be_requested(narrow_tower: Narrow) -> None:
    assert text_length_of(narrow_tower(), fixed=True).handling == "fixed"


def test_the_difference_of_an_exact_tower_is_far_below_the_tolerance(narrow_tower: Narrow) -> None:
    assert largest_difference(narrow_tower()) < TOLERANCE / 100


class Leaky(nn.Module):
    """A tower whose embedding depends on the number of columns."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, L] → [B, D]."""
        return self.tower(tokens) + 0.01 * tokens.shape[1]


def test_a_tower_that_fails_the_proof_gets_the_full_length_and_says_why(
    narrow_tower: Narrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = narrow_tower()
    monkeypatch.setattr(text_length, "tower_of", lambda model, context: Leaky(TextTower(model)))
    found = text_length_of(source)
    assert found.handling == "fixed"
    assert "shorter texts differ from padded ones" in found.reason


def test_not_a_number_fails_the_proof(narrow_tower: Narrow, monkeypatch: pytest.MonkeyPatch) -> None:
    source = narrow_tower()
    monkeypatch.setattr(text_length, "tower_of", lambda model, context: nn.Threshold(torch.inf, torch.nan))
    monkeypatch.setattr(text_length, "largest_difference", lambda source: float("nan"))
    assert text_length_of(source).handling == "fixed"


def test_a_tokenizer_whose_padding_is_not_the_towers_gets_the_full_length(narrow_tower: Narrow) -> None:
    source = replace(narrow_tower(**COCA), tokenizer=TokenizerFacts(pad_id=7))
    assert text_length_of(source).handling == "fixed"
