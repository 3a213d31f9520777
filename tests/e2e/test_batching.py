"""Triton's own statistics show that it batches what callers send one by one."""

from __future__ import annotations

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from clipserve_gateway.triton.client import TritonEncoder

from testing.service import ROOT

CALLERS = 16
CALLS = 6


def counts(live, model: str) -> tuple[int, int]:
    """Inferences and executions of one Triton model so far, of all its versions."""
    port = live.announced(r"HTTP (\d+)")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/{model}/stats", timeout=10) as answer:
        versions = json.load(answer)["model_stats"]
    return (
        sum(version["inference_count"] for version in versions),
        sum(version["execution_count"] for version in versions),
    )


def batches(live, model: str, call) -> bool:
    """Whether Triton batches; on a busy machine, callers may be too slow for it at first.

    Where it cannot join requests (of different shapes, say), executions hold 1.0 to 1.1 of them.
    """
    return any(mean_batch(live, model, call) > 1.5 for _ in range(8))


def mean_batch(live, model: str, call) -> float:
    """Inferences per execution while many callers make one call after another."""
    before = counts(live, model)
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(call, range(CALLERS * CALLS)))
    # Triton counts a batch a moment after it has answered it.
    for _ in range(100):
        inferences, executions = (now - then for now, then in zip(counts(live, model), before, strict=True))
        if inferences >= CALLERS * CALLS:
            break
        time.sleep(0.05)
    # Known answers are asked for meanwhile, now and then.
    assert CALLERS * CALLS <= inferences < CALLERS * CALLS * 1.2
    return inferences / executions


def test_images_of_different_callers_are_batched(live, client):
    content = (ROOT / "demo" / "photos" / "cat.jpg").read_bytes()
    # Equal pictures under way are encoded once, so these differ: in a byte after the picture's end.
    assert batches(live, "demo_image", lambda i: client.embed_images([content + bytes([i])]))


def test_texts_of_different_lengths_are_batched(live, client):
    # No two alike, as above.
    texts = [" ".join([str(i)] + ["word"] * (i % 20)) for i in range(CALLERS * CALLS)]
    assert batches(live, "demo_text", lambda i: client.embed_texts([texts[i]]))


@pytest.mark.parametrize("count", [1, 100])
def test_a_batch_says_what_its_parts_say(client, count):
    texts = [f"{i} " + "very " * (i % 40) + "long" for i in range(count)]
    together = client.embed_texts(texts).embeddings
    for i in range(0, count, 17):
        alone = client.embed_texts([texts[i]]).embeddings[0]
        assert float(alone @ together[i]) > 0.99999


async def test_triton_reports_the_instances_that_the_trial_chose(live):
    triton = TritonEncoder(live.triton)
    try:
        towers = await triton.towers(["demo_image", "demo_text"], 10)
    finally:
        await triton.close()
    assert len({tower.instances for tower in towers}) == 1
    for tower in towers:
        assert tower.instances >= 1
        assert 0 <= tower.bulk_batch <= tower.max_batch_size
