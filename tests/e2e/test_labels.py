"""Label sets of the SDK: the demo's embeddings come with the gateway, and are what the model answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import clipserve
import pytest
from clipserve.labels import NAMES, label_set

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "demo/photos/cat.jpg"


@pytest.mark.parametrize("name", NAMES)
def test_the_demo_model_has_encoded_them_before_the_first_call(client: clipserve.Client, name: str) -> None:
    assert client.prepare_labels(label_set(name), model="demo") == 0


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_along_is_what_the_model_answers(client: clipserve.Client, name: str) -> None:
    labels = label_set(name)
    all_of_them = client.classify([PHOTO], labels, top_k=len(labels.names), model="demo")[0].scores
    shipped = {score.label: score.cosine for score in all_of_them}
    some = dataclasses.replace(
        labels, names=labels.names[::100][:4] if len(labels.names) > 10 else labels.names[:9]
    )
    for score in client.classify([PHOTO], some, top_k=10, model="demo")[0].scores:
        assert score.cosine == pytest.approx(shipped[score.label], abs=2e-4), score.label


def test_for_another_model_they_are_encoded_once(client: clipserve.Client) -> None:
    labels = label_set("cifar10")
    assert client.prepare_labels(labels, model="twin") in (0, 180)
    assert client.prepare_labels(labels, model="twin") == 0
    twin = client.classify([PHOTO], labels, top_k=10, model="twin")[0].scores
    demo = client.classify([PHOTO], labels, top_k=10, model="demo")[0].scores
    assert [score.label for score in twin] == [score.label for score in demo]
    for one, other in zip(twin, demo, strict=True):
        assert one.cosine == pytest.approx(other.cosine, abs=2e-4)
