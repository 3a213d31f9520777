"""Perturbed copies of random weights: different inputs differ, and the original stays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from clipserve_exporter.jitter import jittered
from clipserve_exporter.parity import ALIKE, likeness
from clipserve_exporter.reference import encode_images
from clipserve_exporter.samples import Texts, pictures
from clipserve_exporter.source import Source

Narrow = Callable[..., Source]
BERT = {
    "model_type": "bert", "vocab_size": 500, "hidden_size": 64, "num_hidden_layers": 6,
    "num_attention_heads": 2, "intermediate_size": 64, "pad_token_id": 0,
}  # fmt: skip


def of_pictures(source: Source) -> float:
    pixels = pictures(np.random.default_rng(1), 5, 64, 64)
    return likeness(encode_images(source, pixels))


def of_texts(source: Source) -> float:
    texts = Texts(source)
    rows = texts.rows(np.random.default_rng(1), range(2, 20, 3))
    return likeness(source.encode_text(texts.padded(rows, source.context_length)))


def test_pictures_differ_to_a_resnet_whose_residual_layers_began_at_zero(narrow: Narrow) -> None:
    source = narrow(vision_cfg={"layers": [3, 4, 6, 3], "width": 16, "image_size": 64})
    before = of_pictures(source)
    after = of_pictures(jittered(source))
    assert before > 0.99 > after
    assert of_pictures(source) == before


def test_texts_differ_to_an_encoder_that_reads_its_first_token(narrow_tower: Narrow) -> None:
    source = narrow_tower(0, BERT, text_cfg={"hf_pooler_type": "cls_pooler", "hf_proj_type": "linear"})
    assert of_texts(source) > ALIKE > of_texts(jittered(source))


def test_equal_seeds_perturb_equally(narrow: Narrow) -> None:
    source = narrow()
    first, same, other = (jittered(source, seed).weights_sha256() for seed in (0, 0, 1))
    assert first == same != other
    assert source.weights_sha256() != first


def test_the_copy_is_for_inference(narrow: Narrow) -> None:
    other = jittered(narrow(vision_cfg={"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}))
    assert not any(module.training for module in other.model.modules())
    assert all(torch.isfinite(tensor).all() for tensor in other.model.state_dict().values())
