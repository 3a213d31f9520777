"""Attention that traces well: the same weights and the same answer as PyTorch's module, faster in a graph.

The fused kernel behind `nn.MultiheadAttention` fits the traced shape alone, and without it the module
projects a transposed tensor, which costs a CPU almost half of a ViT's time.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PlainAttention(nn.Module):
    """Stands for a `nn.MultiheadAttention` with batches first, in inference."""

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
        """[B, L, W], thrice the same → [B, L, W].

        The mask is added to the scores: [L, L], or [B · heads, L, L].
        """
        if query is not key or key is not value or need_weights:
            raise ValueError("only self-attention without its weights is done here")
        projected = F.linear(query, self.in_proj_weight, self.in_proj_bias)
        # [B, L, 3 · W] → 3 times [B, heads, L, W / heads]
        q, k, v = projected.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        if attn_mask is not None and attn_mask.dim() == 3:
            attn_mask = attn_mask.unflatten(0, (-1, self.heads))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


def with_plain_attention(model: nn.Module) -> nn.Module:
    """The model, its self-attention blocks changed in place."""
    from open_clip.transformer import ResidualAttentionBlock

    for block in list(model.modules()):
        if isinstance(block, ResidualAttentionBlock) and is_plain(block.attn):
            block.attn = PlainAttention(block.attn)
    return model


def is_plain(module: nn.Module) -> bool:
    """Whether PlainAttention does all that an attention module does."""
    return (
        isinstance(module, nn.MultiheadAttention)
        and module.batch_first
        and module.in_proj_weight is not None
        and module.bias_k is None
        and not module.add_zero_attn
    )
