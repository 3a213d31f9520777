"""Text towers of Hugging Face transformers: token ids → float32 embeddings, not normalized.

A trace of transformers' own forward keeps the device and the shape of its example. These modules use its
layers with a forward of their own: embedding, mask, layers, pooling.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding


class HuggingFaceTower(nn.Module):
    """open_clip's HFTextEncoder for any number of tokens up to the context length.

    Padding is masked, so it does not influence the embeddings of texts.
    """

    def __init__(self, tower: Any, context_length: int) -> None:
        super().__init__()
        self.encoder = ENCODERS[tower.config.model_type](tower.transformer, context_length)
        self.proj = tower.proj
        self.pad = tower.config.pad_token_id
        kind = type(tower.pooler).__name__
        self.mean = kind == "MeanPooler"
        head = getattr(tower.transformer, "pooler", None)
        self.head = head if kind == "ClsPooler" and tower.pooler.use_pooler_output else None

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [B, L ≤ context_length] → float32 [B, D]."""
        keep = tokens != self.pad
        hidden = self.encoder(tokens, keep)
        if self.mean:
            weights = keep.unsqueeze(-1)
            # Summed in float32: half precision is too coarse for the sum of a long text.
            total = (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
            pooled = total.to(hidden.dtype)
        else:
            pooled = hidden[:, 0] if self.head is None else self.head(hidden)
        return self.proj(pooled).float()


class BertEncoder(nn.Module):
    """BERT, RoBERTa and XLM-RoBERTa."""

    def __init__(self, transformer: Any, context_length: int) -> None:
        super().__init__()
        parts = transformer.embeddings
        self.words, self.norm = parts.word_embeddings, parts.LayerNorm
        self.kinds, self.positions = parts.token_type_embeddings, parts.position_embeddings
        # RoBERTa counts positions from its padding on, BERT from 0.
        self.pad: int | None = getattr(parts, "padding_idx", None)
        self.layers = transformer.encoder.layer

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """int64 [B, L] and the mask of its texts [B, L] → [B, L, W]."""
        if self.pad is None:
            positions = self.positions.weight[: tokens.shape[1]]
        else:
            positions = self.positions(counted(keep, self.pad))
        x = self.norm(self.words(tokens) + self.kinds.weight[0] + positions)
        mask = additive(keep, x.dtype)
        for layer in self.layers:
            x = layer(x, mask)
        return x


class M2M100Encoder(nn.Module):
    """The encoder of M2M-100 and NLLB-200."""

    positions: Tensor

    def __init__(self, transformer: Any, context_length: int) -> None:
        super().__init__()
        self.words, self.layers, self.norm = (
            transformer.embed_tokens,
            transformer.layers,
            transformer.layer_norm,
        )
        self.pad = transformer.padding_idx
        self.register_buffer("positions", transformer.embed_positions.weights)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """int64 [B, L] and the mask of its texts [B, L] → [B, L, W]."""
        x = self.words(tokens) + embedding(counted(keep, self.pad), self.positions)
        mask = additive(keep, x.dtype)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class MT5Encoder(nn.Module):
    """The encoder of mT5, whose attention adds a bias by distance."""

    buckets: Tensor

    def __init__(self, transformer: Any, context_length: int) -> None:
        super().__init__()
        self.words, self.layers = transformer.embed_tokens, transformer.block
        self.norm = transformer.final_layer_norm
        attention = transformer.block[0].layer[0].SelfAttention
        self.bias = attention.relative_attention_bias
        column = torch.arange(context_length)
        buckets = attention._relative_position_bucket(
            column[None] - column[:, None],
            num_buckets=attention.relative_attention_num_buckets,
            max_distance=attention.relative_attention_max_distance,
        )
        self.register_buffer("buckets", buckets)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """int64 [B, L] and the mask of its texts [B, L] → [B, L, W]."""
        length = tokens.shape[1]
        x = self.words(tokens)
        distances = self.bias(self.buckets[:length, :length]).permute(2, 0, 1)
        bias = distances.unsqueeze(0) + additive(keep, x.dtype)
        for layer in self.layers:
            x = layer(x, position_bias=bias)[0]
        return self.norm(x)


ENCODERS: dict[str, Any] = {
    "bert": BertEncoder,
    "roberta": BertEncoder,
    "xlm-roberta": BertEncoder,
    "m2m_100": M2M100Encoder,
    "mt5": MT5Encoder,
}
POOLERS = ("MeanPooler", "ClsPooler", "ClsLastHiddenStatePooler")


def is_known(tower: Any) -> bool:
    """Whether HuggingFaceTower supports an HFTextEncoder."""
    return tower.config.model_type in ENCODERS and type(tower.pooler).__name__ in POOLERS


def counted(keep: Tensor, pad: int) -> Tensor:
    """Returns the positions of tokens, counted from `pad` + 1; those of padding are `pad`."""
    return keep.to(torch.int64).cumsum(dim=1) * keep + pad


def additive(keep: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns a mask that is added to attention scores, [B, 1, 1, L].

    Finite, so that a row of padding alone gives numbers.
    """
    return (~keep).to(dtype).mul(torch.finfo(dtype).min)[:, None, None]
