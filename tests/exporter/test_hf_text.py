"""Encoders of Hugging Face transformers: masked, of any length, and equal to open_clip's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from clipserve_exporter.errors import ExportError
from clipserve_exporter.parity import text_cases
from clipserve_exporter.samples import Texts, laid_out
from clipserve_exporter.source import Source
from clipserve_exporter.text_length import text_length_of
from clipserve_exporter.torchscript import export_text

Narrow = Callable[..., Source]
BERT = {
    "vocab_size": 500,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 90,
}
ENCODERS: dict[str, dict[str, Any]] = {
    "bert": BERT | {"pad_token_id": 0},
    "roberta": BERT | {"pad_token_id": 1},
    "xlm-roberta": BERT | {"pad_token_id": 1},
    "mt5": {
        "vocab_size": 500, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2,
        "pad_token_id": 0, "is_encoder_decoder": True,
    },
    "m2m_100": {
        "vocab_size": 500, "d_model": 32, "encoder_layers": 2, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64, "max_position_embeddings": 90, "pad_token_id": 1, "is_encoder_decoder": True,
    },
}  # fmt: skip
OF_EACH_CLASS = ("roberta", "mt5", "m2m_100")


@pytest.fixture
def encoder(narrow_tower: Narrow) -> Callable[..., Source]:
    """Makes models with a Hugging Face encoder."""

    def make(kind: str, **text_cfg: Any) -> Source:
        config = ENCODERS[kind] | {"model_type": kind}
        return narrow_tower(config["pad_token_id"], config, text_cfg={"hf_proj_type": "linear"} | text_cfg)

    return make


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("pooler", ["mean_pooler", "cls_pooler", "cls_last_hidden_state_pooler"])
def test_every_encoder_and_pooler_is_masked_and_exact(
    encoder: Callable[..., Source], kind: str, pooler: str
) -> None:
    source = encoder(kind, hf_pooler_type=pooler, context_length=40)
    assert text_length_of(source).handling == "masked"
    graph = export_text(source, "fp32", "masked")
    for case in text_cases(source, graph, "fp32", "masked"):
        assert case.max_abs_diff < 1e-5, case


@pytest.mark.parametrize("kind", OF_EACH_CLASS)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_keeps_its_bound(encoder: Callable[..., Source], kind: str, precision: str) -> None:
    source = encoder(kind, context_length=40)
    graph = export_text(source, precision, "masked")
    for case in text_cases(source, graph, precision, "masked"):
        assert case.good, case


@pytest.mark.parametrize("kind", ["roberta", "mt5"])
def test_neighbors_and_padding_in_a_batch_change_nothing(encoder: Callable[..., Source], kind: str) -> None:
    source = encoder(kind, context_length=40)
    graph, texts = export_text(source, "fp32", "masked"), Texts(source)
    rows = texts.rows(np.random.default_rng(0), [3, 40, 7, 1])
    alone = torch.cat([graph(*laid_out([row])) for row in rows])
    torch.testing.assert_close(graph(*laid_out(rows)), alone, atol=1e-5, rtol=0)
    together = list(texts.padded(rows, 40))
    torch.testing.assert_close(graph(*laid_out(together)), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", OF_EACH_CLASS)
def test_a_row_of_padding_alone_does_not_harm_its_neighbors(
    encoder: Callable[..., Source], kind: str
) -> None:
    source = encoder(kind, context_length=40)
    graph, texts = export_text(source, "fp32", "masked"), Texts(source)
    (row,) = texts.rows(np.random.default_rng(0), [6])
    found = graph(*laid_out([torch.full((9,), texts.pad), row]))
    assert found.isfinite().all()
    torch.testing.assert_close(found[1:], graph(*laid_out([row])), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["bert", "mt5"])
def test_the_full_length_can_be_requested(encoder: Callable[..., Source], kind: str) -> None:
    source = encoder(kind, context_length=40)
    graph = export_text(source, "fp32", "fixed")
    for case in text_cases(source, graph, "fp32", "fixed"):
        assert case.max_abs_diff < 1e-5, case


def test_the_context_length_is_the_tokenizers_and_not_the_encoders(encoder: Callable[..., Source]) -> None:
    assert encoder("roberta", context_length=40).context_length == 40
    assert encoder("mt5").context_length == 77


def test_a_pooler_that_open_clip_cannot_run_is_refused(encoder: Callable[..., Source]) -> None:
    with pytest.raises(ExportError, match="open_clip itself cannot encode a text with narrow"):
        encoder("roberta", hf_pooler_type="max_pooler")


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_context_that_is_longer_than_the_encoders_is_refused(
    encoder: Callable[..., Source], kind: str
) -> None:
    with pytest.raises(ExportError, match="open_clip itself cannot encode a text with narrow"):
        encoder(kind, context_length=91)


def test_positions_that_are_computed_have_no_limit(encoder: Callable[..., Source]) -> None:
    source = encoder("m2m_100", context_length=120)
    for case in text_cases(source, export_text(source, "fp32", "masked"), "fp32", "masked"):
        assert case.max_abs_diff < 1e-5, case
