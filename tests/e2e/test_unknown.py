"""What does not fit is told: queries that the model does not know, pictures of none of the labels."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import clipserve
import numpy as np
import pytest
from clipserve import LabelSet, NoneOfTheAbove
from PIL import Image

from testing.service import ROOT

PICTURES = sorted((ROOT / "demo" / "pictures").glob("*.jpg"))[:60]
KNOWN = [picture.stem.replace("-", " ") for picture in PICTURES]
UNKNOWN = [
    *("汽车", "鳥", "самолёт", "кошка", "بيت", "🐈", "🚗", "बिल्ली", "猫", "고양이", "γάτα", "בית"),
    *("qwkjh zzvx", "8675309", "§§§", "dolor amet sit"),
]


@pytest.fixture(scope="module")
def collection(client: clipserve.Client) -> Iterator[str]:
    client.create_collection("unknown")
    client.upsert("unknown", [clipserve.Point(picture.stem, image=picture) for picture in PICTURES])
    yield "unknown"
    client.delete_collection("unknown")


def test_queries_that_the_model_does_not_know_have_low_percentiles(
    client: clipserve.Client, collection: str
) -> None:
    known, unknown = (
        [client.search(collection, text=text, top_k=1) for text in texts] for texts in (KNOWN, UNKNOWN)
    )
    best = [np.array([found[0].percentile for found in group], float) for group in (known, unknown)]
    assert np.isfinite(np.concatenate(best)).all(), "the first search too"
    pairs = best[0][:, None] - best[1]
    assert ((pairs > 0) + (pairs == 0) / 2).mean() >= 0.95
    assert np.mean([found.weak_match for found in known]) <= 0.2
    assert np.mean([found.weak_match for found in unknown]) >= 0.8


def test_the_command_says_that_nothing_matches_well(
    collection: str, cli: Callable[..., dict], client: clipserve.Client
) -> None:
    assert cli("search", "самолёт", "-c", collection)["weak_match"]
    assert not cli("search", "airplane", "-c", collection)["weak_match"]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_pictures_of_nothing_are_none_of_the_above_and_others_are_not(client: clipserve.Client) -> None:
    random = np.random.default_rng(7)
    stripes = np.tile(np.repeat(np.uint8([0, 255] * 14), 8), (224, 1))
    nothing = [
        Image.fromarray(random.integers(0, 256, (224, 224, 3), np.uint8)),
        Image.new("RGB", (224, 224), "blue"),
        Image.fromarray(stripes).convert("RGB"),
    ]
    labels = LabelSet(("cat", "airplane", "car", "horse"), none_of_the_above=NoneOfTheAbove("nothing"))
    for result in client.classify([png(image) for image in nothing], labels):
        assert result.label == "nothing"
    named = {"airplane": "airplane", "car-red": "car", "horse-brown": "horse"}
    files = [ROOT / "demo" / "pictures" / f"{name}.jpg" for name in named]
    plain = client.classify(files, labels.names)
    for file, result, without in zip(files, client.classify(files, labels), plain, strict=True):
        assert result.label == named[file.stem]
        scores = {score.label: score.probability for score in result.scores}
        rest = 1 - scores["nothing"]
        for score in without.scores:
            assert scores[score.label] == pytest.approx(score.probability * rest, rel=1e-3, abs=1e-6)
