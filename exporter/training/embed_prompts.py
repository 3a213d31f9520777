"""Embeds the gateway's own prompts by the demo model: a first search or Classify need not wait for them then.

Writes demo_prompts.npz (normalized float16 [N, D] for each list, and the model's fingerprint) and the digests
of the lists in known_texts.json, both in gateway/clipserve_gateway/data. Run it after training, and where a
list has changed, while a gateway serves the demo model:

    .venv/bin/python exporter/training/embed_prompts.py localhost:8600
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from clipserve import Client
from clipserve_gateway.collection.reference_texts import reference_digest, reference_list
from clipserve_gateway.inference.negative_words import negative_digest, negative_prompts

DATA = Path(__file__).parents[2] / "gateway/clipserve_gateway/data"


def main() -> None:
    """Embeds all lists and writes them."""
    lists = {
        "reference": (reference_digest, reference_list()),
        "negative": (negative_digest, negative_prompts()),
    }
    found = {}
    with Client(sys.argv[1]) as client:
        for name, (_, prompts) in lists.items():
            result = client.embed_texts(prompts, model="demo")
            found[name] = result.embeddings.astype(np.float16)
            print(f"{name}: {found[name].shape}")
    assert result.model is not None, "the server says which model it was"
    np.savez_compressed(DATA / "demo_prompts.npz", fingerprint=np.array(result.model.fingerprint), **found)
    known = json.loads((DATA / "known_texts.json").read_text("utf-8"))
    known |= {name: digest() for name, (digest, _) in lists.items()}
    (DATA / "known_texts.json").write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
