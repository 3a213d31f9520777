"""Models with tokenizers of Hugging Face, served beside the demo model: open_clip's embeddings."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clipserve
import numpy as np
import pytest
from PIL import Image

from testing.service import ROOT, Service, start
from testing.tiny_models import MULTILINGUAL, SIGLIP, TEXTS

COSINE = 0.9999
PHOTOS = sorted((ROOT / "demo" / "photos").glob("*.jpg"))[:4]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, open_clip's embeddings and a repository of the demo and two tiny models."""
    folder = tmp_path_factory.mktemp("tiny")
    for number, (photo, size) in enumerate(
        zip(PHOTOS, [(64, 48), (33, 90), (120, 121), (50, 200)], strict=True)
    ):
        Image.open(photo).convert("RGB").resize(size).save(folder / f"{number}.png")
    repository = folder / "repository"
    shutil.copytree(ROOT / "build" / "model_repository", repository)
    command = [ROOT / ".venv-models" / "bin" / "python", "-m", "testing.tiny_models", folder, repository]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def service(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    run = tmp_path_factory.mktemp("service")
    service = start(run, "--default-model", "demo", repository=tiny / "repository")
    yield service
    assert service.stop() == 0, service.words


@pytest.fixture(scope="module")
def ready(service: Service) -> Iterator[clipserve.Client]:
    """A client, once all models are ready."""
    with clipserve.Client(service.address) as client:
        end = time.monotonic() + 60
        while {model.name for model in client.info().models if model.ready} < {"demo", MULTILINGUAL, SIGLIP}:
            assert time.monotonic() < end, service.words
            time.sleep(0.1)
        yield client


def expected(tiny: Path, model: str) -> Any:
    return np.load(tiny / f"{model}.npz")


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert (found * wanted).sum(axis=1).min() >= COSINE
    # Embeddings that are all alike would show little.
    assert (wanted @ wanted.T).min() < 0.99


@pytest.mark.parametrize("model", [MULTILINGUAL, SIGLIP])
def test_texts_in_many_languages_have_open_clips_embeddings(
    model: str, ready: clipserve.Client, tiny: Path
) -> None:
    found = ready.embed_texts(list(TEXTS), model=model)
    assert_same(found.embeddings, expected(tiny, model)["texts"])
    alone = np.concatenate([ready.embed_texts([text], model=model).embeddings for text in TEXTS])
    assert_same(alone, expected(tiny, model)["texts"])


@pytest.mark.parametrize("model", [MULTILINGUAL, SIGLIP])
def test_only_the_text_beyond_the_context_is_truncated(model: str, ready: clipserve.Client) -> None:
    assert list(ready.embed_texts(list(TEXTS), model=model).truncated) == [len(TEXTS) - 1]


@pytest.mark.parametrize("model", [MULTILINGUAL, SIGLIP])
def test_pictures_have_open_clips_embeddings(model: str, ready: clipserve.Client, tiny: Path) -> None:
    found = ready.embed_images(sorted(tiny.glob("*.png")), model=model)
    assert_same(found.embeddings, expected(tiny, model)["images"])


def test_pictures_are_classified_by_labels_in_many_languages(ready: clipserve.Client, tiny: Path) -> None:
    pictures = sorted(tiny.glob("*.png"))
    for model in (MULTILINGUAL, SIGLIP):
        labels = list(TEXTS[:8])
        found = ready.classify(pictures, labels, templates=["{}"], model=model, top_k=8)
        both = expected(tiny, model)
        cosines = both["images"] @ both["texts"][:8].T
        for result, row in zip(found.results, cosines, strict=True):
            wanted = dict(zip(labels, row.tolist(), strict=True))
            assert {score.label: score.cosine for score in result.scores} == pytest.approx(wanted, abs=1e-3)


def test_the_demo_model_still_answers(ready: clipserve.Client) -> None:
    found = ready.embed_texts(["a photo of a cat", "a photo of a dog"], model="demo").embeddings
    assert 0 < float(found[0] @ found[1]) < 0.999
