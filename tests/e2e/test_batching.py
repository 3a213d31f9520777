"""Triton's own statistics show that it batches what callers send one by one."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.service import ROOT

CALLERS = 16
CALLS = 6


def counts(service, model: str) -> tuple[int, int]:
    """Inferences and executions of one Triton model so far."""
    port = service.announced(r"HTTP (\d+)")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/{model}/stats", timeout=10) as answer:
        [stats] = json.load(answer)["model_stats"]
    return stats["inference_count"], stats["execution_count"]


def mean_batch(service, model: str, call) -> float:
    """Inferences per execution while many callers make one call after another."""
    before = counts(service, model)
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(call, range(CALLERS * CALLS)))
    inferences, executions = (now - then for now, then in zip(counts(service, model), before, strict=True))
    assert inferences == CALLERS * CALLS
    return inferences / executions


def test_images_of_different_callers_are_batched(service, client):
    content = (ROOT / "demo" / "photos" / "cat.jpg").read_bytes()
    assert mean_batch(service, "demo_image", lambda _: client.embed_images([content])) > 2


def test_texts_of_different_lengths_are_batched(service, client):
    texts = [" ".join(["word"] * (1 + i % 20)) for i in range(CALLERS * CALLS)]
    assert mean_batch(service, "demo_text", lambda i: client.embed_texts([texts[i]])) > 2


@pytest.mark.parametrize("count", [1, 100])
def test_a_batch_says_what_its_parts_say(client, count):
    texts = [f"{i} " + "very " * (i % 40) + "long" for i in range(count)]
    together = client.embed_texts(texts).embeddings
    for i in range(0, count, 17):
        alone = client.embed_texts([texts[i]]).embeddings[0]
        assert float(alone @ together[i]) > 0.99999
