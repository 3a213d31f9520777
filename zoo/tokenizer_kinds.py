"""Which kind of tokenizer an open_clip model has, by the name in its configuration.

The kinds are those of `testing.tokenizers`, and `openai`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OPENAI = "openai"
KINDS = {
    "bert-base-uncased": "clipa",
    "facebook/nllb-200-distilled-600M": "nllb",
    "facebook/nllb-200-distilled-1.3B": "nllb",
    "facebook/xlm-v-base": "xlm_v",
    "google/mt5-base": "mt5",
    "google/mt5-xl": "mt5",
    "roberta-base": "roberta",
    "timm/ViT-B-16-SigLIP": "siglip",
    "timm/ViT-B-16-SigLIP-i18n-256": "mt5",
    "xlm-roberta-base": "xlm_roberta",
    "xlm-roberta-large": "xlm_roberta",
}
WORDS = {
    OPENAI: "OpenAI BPE",
    "clipa": "BERT word pieces",
    "mt5": "mT5 unigram",
    "nllb": "NLLB BPE",
    "roberta": "RoBERTa byte BPE",
    "siglip": "T5 unigram",
    "siglip2": "Gemma BPE",
    "xlm_roberta": "XLM-R unigram",
    "xlm_v": "XLM-V unigram",
}
"""The kinds in words."""


def kind_of(text_cfg: Mapping[str, Any]) -> str:
    """The kind of a model's tokenizer. Raises KeyError for a tokenizer that is not known."""
    name = text_cfg.get("hf_tokenizer_name") or text_cfg.get("hf_model_name")
    if not name:
        return OPENAI
    return "siglip2" if "-SigLIP2" in name else KINDS[name]
