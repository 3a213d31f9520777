"""Embeds the label sets that come with the SDK by the demo model, so that the gateway need not (a minute).

Writes gateway/clipserve_gateway/data/demo_texts.npz; run it after training. Normalized float32 [N, D] for
each set, and the fingerprint of the model.

    .venv-models/bin/python exporter/training/embed_labels.py
"""

# ruff: noqa: E402 (open_clip imports torchvision, which must be importable first)

from __future__ import annotations

import json
import re
from pathlib import Path

from clipserve_exporter.torchvision_shim import make_importable

make_importable()

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from clipserve_exporter import demo
from clipserve_exporter.text_tower import TextTower

ROOT = Path(__file__).parents[2]
SETS = ("cifar10", "cifar100", "imagenet1k")
OUT = ROOT / "gateway/clipserve_gateway/data/demo_texts.npz"
CONFIG = ROOT / "model_repository/demo_text/config.pbtxt"
BATCH = 2_000


@torch.inference_mode()
def label_embeddings(tower: TextTower, labels: list[str], templates: list[str]) -> torch.Tensor:
    """Normalized mean of each label's normalized prompt embeddings, float32 [labels, D]."""
    tokenize = open_clip.get_tokenizer("ViT-B-32")
    ids = tokenize([template.replace("{}", label) for label in labels for template in templates])
    lengths = ids.argmax(-1) + 1
    order = lengths.argsort()
    # Each batch at its own length: tokens after the end do not matter.
    done = [tower(ids[part][:, : int(lengths[part].max())]) for part in order.split(BATCH)]
    prompts = F.normalize(torch.cat(done)[order.argsort()].double(), dim=-1)
    return F.normalize(prompts.reshape(len(labels), len(templates), -1).mean(1), dim=-1).float()


def main() -> None:
    """Embeds all sets and writes them."""
    tower = TextTower(demo.load_demo())
    fingerprint = re.search(r'"fingerprint" value \{ string_value: "(\w{64})"', CONFIG.read_text("utf-8"))
    assert fingerprint is not None, f"{CONFIG} has a fingerprint"
    found = {}
    for name in SETS:
        text = (ROOT / f"client/clipserve/data/{name}.json").read_text("utf-8")
        labels = json.loads(text)
        found[name] = label_embeddings(
            tower, list(dict.fromkeys(labels["names"])), labels["templates"]
        ).numpy()
        print(f"{name}: {found[name].shape}")
    np.savez(OUT, fingerprint=np.array(fingerprint[1]), **found)


if __name__ == "__main__":
    main()
