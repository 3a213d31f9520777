"""The canary: the same question, and open_clip's own answer to it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
from collections.abc import Callable

import numpy as np
import open_clip
import torch
from clipserve_exporter.canary import canary_png, make_canary
from clipserve_exporter.source import Source
from clipserve_exporter.tokenizer_facts import TokenizerFacts
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image


def test_the_picture_is_small_and_always_the_same() -> None:
    image = Image.open(io.BytesIO(canary_png()))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (32, 32))
    assert len(canary_png()) < 2000
    # Of the pixels: compression may differ from one zlib to the next.
    assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == "84e387e714ed1d7c"


def test_token_ids_are_recorded_where_the_tokenizer_travels_with_the_model(
    narrow: Callable[..., Source],
) -> None:
    assert make_canary(narrow()).text_ids == ""
    source = dataclasses.replace(narrow(), tokenizer=TokenizerFacts(kind="huggingface"))
    canary = make_canary(source)
    ids = np.array([[int(word) for word in canary.text_ids.split()]])
    np.testing.assert_array_equal(ids, open_clip.SimpleTokenizer()([canary.text]).numpy())


def test_the_embeddings_are_open_clips_own(narrow: Callable[..., Source]) -> None:
    source = narrow()
    canary = make_canary(source)
    transform = image_transform_v2(PreprocessCfg(**source.model.visual.preprocess_cfg), is_train=False)
    pixels = transform(Image.open(io.BytesIO(base64.b64decode(canary.image_png))))
    tokens = open_clip.SimpleTokenizer()([canary.text])
    with torch.no_grad():
        image = source.model.encode_image(pixels[None])[0]
        text = source.model.encode_text(tokens)[0]
    for stored, expected in ((canary.image_embedding, image), (canary.text_embedding, text)):
        found = np.frombuffer(base64.b64decode(stored), "<f4")
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
