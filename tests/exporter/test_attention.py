"""Attention as it is traced: PyTorch's answer from PyTorch's weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from clipserve_exporter.attention import PlainAttention, with_plain_attention
from clipserve_exporter.source import Source
from torch import Tensor, nn

BATCH, LENGTH, WIDTH, HEADS = 3, 7, 16, 4


def causal() -> Tensor:
    return torch.full((LENGTH, LENGTH), float("-inf")).triu(1)


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(None, id="no mask"),
        pytest.param(causal(), id="causal"),
        pytest.param(torch.randn(BATCH * HEADS, LENGTH, LENGTH), id="of each head"),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_the_answer_is_that_of_pytorchs_module(mask: Tensor | None, bias: bool) -> None:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(WIDTH, HEADS, bias=bias, batch_first=True).eval()
    if bias:
        nn.init.normal_(module.in_proj_bias)
    x = torch.randn(BATCH, LENGTH, WIDTH)
    expected, _ = module(x, x, x, need_weights=False, attn_mask=mask)
    found, weights = PlainAttention(module)(x, x, x, need_weights=False, attn_mask=mask)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert weights is None


def test_what_it_does_not_do_is_refused() -> None:
    plain = PlainAttention(nn.MultiheadAttention(WIDTH, HEADS, batch_first=True))
    x, y = torch.randn(2, BATCH, LENGTH, WIDTH)
    with pytest.raises(ValueError, match="self-attention"):
        plain(x, y, y)
    with pytest.raises(ValueError, match="self-attention"):
        plain(x, x, x, need_weights=True)


def test_blocks_of_both_towers_are_changed_and_an_attentional_pooler_is_not(
    narrow: Callable[..., Source],
) -> None:
    source = narrow(vision_cfg={"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 4})
    kinds = [type(module) for module in with_plain_attention(source.model).modules()]
    assert kinds.count(PlainAttention) == 4
    assert kinds.count(nn.MultiheadAttention) == 1
