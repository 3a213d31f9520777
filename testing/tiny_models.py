"""Two tiny models with tokenizers of Hugging Face, exported, with what open_clip itself makes of some inputs.

    .venv-models/bin/python -m testing.tiny_models FOLDER REPOSITORY

Writes `FOLDER/NAME.npz` with `images` and `texts`, float32 [N, D], L2-normalized, for the pictures
`FOLDER/*.png` in the order of their names and for TEXTS. Runs in the models' environment.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

TEXTS = (
    "a photo of a cat",
    "a photo of a dog.",
    "Two BICYCLES &amp; a car, at night!",
    "une photo d'un chat noir sur un canapé rouge",
    "фотография маленькой собаки",
    "صورة لقطة سوداء تجلس على أريكة",
    "一张黑猫坐在红色沙发上的照片",
    "赤いソファの上に座っている黒い猫",
    "a 👩\u200d🚀 and a 🐈",
    "a photo of a cat and a dog " * 20,
)
MULTILINGUAL, SIGLIP = "multilingual", "siglip"
VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
TOWER = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}


def configuration(name: str, folder: Path) -> dict[str, Any]:
    """Writes a model's tokenizer and text tower into `folder`; returns its open_clip_config.json."""
    from testing.tokenizers import build

    built = build("xlm_roberta" if name == MULTILINGUAL else "siglip", folder)
    model = {"embed_dim": 32, "vision_cfg": VISION, "custom_text": True}
    if name == SIGLIP:
        pooling = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
        text = built.text_cfg | {"width": 64, "heads": 2, "layers": 2} | pooling
        half = [0.5, 0.5, 0.5]
        preprocess = {"mean": half, "std": half, "resize_mode": "squash", "interpolation": "bicubic"}
        return {
            "model_cfg": model | {"text_cfg": text, "init_logit_bias": -10},
            "preprocess_cfg": preprocess,
        }
    sizes = {"vocab_size": built.text_cfg["vocab_size"], "max_position_embeddings": 80, "pad_token_id": 1}
    encoder = {"model_type": "xlm-roberta", **TOWER, **sizes, "type_vocab_size": 1}
    (folder / "tower").mkdir()
    (folder / "tower" / "config.json").write_text(json.dumps(encoder))
    text = {"hf_model_name": str(folder / "tower"), "hf_tokenizer_name": "a/name", "hf_proj_type": "mlp"}
    text |= {"hf_pooler_type": "mean_pooler", "context_length": 77}
    return {"model_cfg": model | {"text_cfg": text}, "preprocess_cfg": {}}


def make(name: str, folder: Path) -> None:
    """Writes a model with random weights into `folder`."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(configuration(name, folder)))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.15)
        model.logit_scale.fill_(3.0)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")


def reference(folder: Path, pictures: list[Path]) -> dict[str, Any]:
    """What open_clip itself makes of the pictures and TEXTS."""
    import open_clip
    import torch
    from PIL import Image

    name = f"local-dir:{folder}"
    model, transform = open_clip.create_model_from_pretrained(name)
    # open_clip leaves a text tower of transformers in training, with dropout.
    model.eval()
    with torch.no_grad():
        images = model.encode_image(torch.stack([transform(Image.open(path)) for path in pictures]))
        texts = model.encode_text(open_clip.get_tokenizer(name)(list(TEXTS)))
    normalize = torch.nn.functional.normalize
    return {"images": normalize(images, dim=-1).numpy(), "texts": normalize(texts, dim=-1).numpy()}


def main(folder: Path, repository: Path) -> None:
    """Makes and exports both models."""
    # Before the hub's client is imported.
    os.environ["HF_HUB_OFFLINE"] = "1"
    import logging

    import numpy as np
    import torch
    from clipserve_exporter.config import Serving
    from clipserve_exporter.export import Order, export

    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    for name in (MULTILINGUAL, SIGLIP):
        make(name, folder / name)
        np.savez(folder / f"{name}.npz", **reference(folder / name, sorted(folder.glob("*.png"))))
        small = Serving(image_batch=4, text_batch=16, threads=1)
        export(Order(f"local-dir:{folder / name}", "", name, "fp32", "python", repository, 0, small))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
