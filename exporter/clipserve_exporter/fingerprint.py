"""The fingerprint: which embedding space a vector belongs to."""

from __future__ import annotations

import hashlib
import json

from clipserve_exporter.source import Source


def fingerprint(source: Source, weights_sha256: str) -> str:
    """64 hex digits over what decides the embeddings.

    Precision and format are not among it: the bound on parity is what admits them, so machines that
    differ in them share one collection.
    """
    facts = {
        "architecture": source.architecture,
        "context_length": source.context_length,
        "preprocess": {
            "crop": "center",
            "interpolation": "bicubic",
            "mean": source.preprocess.mean,
            "resize": "shortest",
            "size": source.preprocess.size,
            "std": source.preprocess.std,
        },
        "tokenizer": "openai_bpe",
        "weights_sha256": weights_sha256,
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
