"""Small configurations of Hugging Face text towers, since no hub is needed for random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TYPES = {
    "facebook/nllb-200-distilled-600M": "m2m_100",
    "facebook/nllb-200-distilled-1.3B": "m2m_100",
    "google/mt5-base": "mt5",
    "google/mt5-xl": "mt5",
    "roberta-base": "roberta",
    "xlm-roberta-base": "xlm-roberta",
    "xlm-roberta-large": "xlm-roberta",
}
BERT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 130,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
SMALL: dict[str, dict[str, Any]] = {
    "roberta": BERT,
    "xlm-roberta": BERT,
    "m2m_100": {
        "d_model": 64,
        "encoder_layers": 2,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 128,
        "max_position_embeddings": 130,
        "is_encoder_decoder": True,
        "scale_embedding": True,
        "pad_token_id": 1,
        "activation_function": "relu",
    },
    "mt5": {
        "d_model": 64,
        "d_kv": 32,
        "d_ff": 128,
        "num_layers": 2,
        "num_heads": 2,
        "is_encoder_decoder": True,
        "feed_forward_proj": "gated-gelu",
        "pad_token_id": 0,
    },
}


def write_config(hub: str, folder: Path, vocab_size: int) -> Path:
    """Writes the configuration of a small tower of the same class as `hub`'s; returns its folder."""
    kind = TYPES[hub]
    place = folder / kind
    place.mkdir(parents=True, exist_ok=True)
    config = {"model_type": kind, "vocab_size": vocab_size, **SMALL[kind]}
    (place / "config.json").write_text(json.dumps(config))
    return place
