"""Attention with the weights and results of PyTorch's module that is faster in a traced graph.

The fused kernel of `nn.MultiheadAttention` is valid only for the traced shape. Without it, the module
projects a transposed tensor, which takes almost half of a ViT's time on a CPU.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PlainAttention(nn.Module):
    """Replaces a `nn.MultiheadAttention` with `batch_first` for inference."""

    def __init__(self, module: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = module.num_heads
        self.in_proj_weight = module.in_proj_weight
        self.in_proj_bias = module.in_proj_bias
        self.out_proj = module.out_proj

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Self-attention: [B, L, W] → [B, L, W]. `query`, `key` and `value` must be the same tensor.

        The mask is added to the scores: [L, L], or [B · heads, L, L].
        """
        if query is not key or key is not value or need_weights:
            raise ValueError("only self-attention without returned weights is supported")
        projected = F.linear(query, self.in_proj_weight, self.in_proj_bias)
        # [B, L, 3 · W] → 3 times [B, heads, L, W / heads]
        q, k, v = projected.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        if attn_mask is not None and attn_mask.dim() == 3:
            attn_mask = attn_mask.unflatten(0, (-1, self.heads))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


def with_plain_attention(model: nn.Module) -> nn.Module:
    """Replaces the model's self-attention blocks in place; returns the model."""
    from open_clip.transformer import ResidualAttentionBlock

    for block in list(model.modules()):
        if isinstance(block, ResidualAttentionBlock) and is_plain(block.attn):
            block.attn = PlainAttention(block.attn)
    return model


def is_plain(module: nn.Module) -> bool:
    """Whether PlainAttention supports all features of an attention module."""
    return (
        isinstance(module, nn.MultiheadAttention)
        and module.batch_first
        and module.in_proj_weight is not None
        and module.bias_k is None
        and not module.add_zero_attn
    )
