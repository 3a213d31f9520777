"""A tiny model of each kind of tokenizer and preprocessing, served beside the demo, answers as open_clip."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import clipserve
import numpy as np
import pytest

from testing.service import ROOT, Service, start
from zoo import comparing, exporting, samples
from zoo.export_row import Task
from zoo.rows import QUICK
from zoo.run import EXACT

PICTURES, TEXTS = list(samples.pictures().values()), samples.texts()
MULTILINGUAL = ("nllb-bilinear", "siglip2-gopt")
LABELS = [i for i, text in enumerate(TEXTS) if text.isprintable() and text == text.strip() and len(text) < 60]
"""Texts that can be labels, by their places."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported models beside the demo, and what open_clip makes of the samples."""
    folder = tmp_path_factory.mktemp("zoo")
    shutil.copytree(ROOT / "build" / "model_repository", folder / "models")
    task = Task(list(QUICK), str(folder), str(folder / "models"), ["fp32"], 8 * 2**30)
    results = exporting.export(task, 120.0, on_step=lambda step: None)
    assert not exporting.error_of(results, QUICK), (folder / "export.log").read_text()[-3000:]
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    service = start(folder, "--default-model", "demo", repository=folder / "models", env=EXACT)
    yield service
    assert service.stop() == 0, service.words


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[clipserve.Client]:
    with clipserve.Client(service.address) as client:
        yield client


@pytest.fixture(params=QUICK)
def model(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def expected(folder: Path, model: str) -> Iterator[np.lib.npyio.NpzFile]:
    with np.load(folder / model / "reference.npz") as arrays:
        yield arrays


def test_pictures_become_the_pixels_of_open_clip(service, model, expected):
    known = comparing.known_of(service.triton, model)
    assert comparing.same_pixels(known.spec, PICTURES, expected["pixels"]) == len(PICTURES)


def test_texts_become_the_ids_of_open_clip(service, model, expected):
    known = comparing.known_of(service.triton, model)
    assert comparing.same_ids(known.spec, service.triton, TEXTS, expected["ids"]) == len(TEXTS)


def test_embeddings_are_those_of_open_clip(client, model, expected):
    seen = comparing.cosines(client, model, PICTURES, TEXTS, expected)
    assert min(seen.values()) >= comparing.BOUNDS["fp32"]


def test_each_text_alone_has_the_embedding_of_open_clip(client, model, expected):
    some = list(range(0, len(TEXTS), len(TEXTS) // 8))
    alone = np.concatenate([client.embed_texts([TEXTS[i]], model=model).embeddings for i in some])
    assert comparing.min_cosine(alone, expected["texts"][some]) >= comparing.BOUNDS["fp32"]


def test_only_the_text_beyond_the_context_is_truncated(client, model):
    texts = ["a photo of a cat", "一张黑猫", "a photo of a cat and a dog " * 20]
    assert list(client.embed_texts(texts, model=model).truncated) == [2]


@pytest.mark.filterwarnings("ignore::clipserve.LabelsWarning")
@pytest.mark.parametrize("model", MULTILINGUAL)
def test_pictures_are_classified_by_labels_in_many_languages(client, model, expected):
    labels = [TEXTS[i] for i in LABELS]
    found = client.classify(PICTURES, labels, templates=["{}"], model=model, top_k=len(labels))
    cosines = expected["images"] @ expected["texts"][LABELS].T
    for result, row in zip(found.results, cosines, strict=True):
        wanted = dict(enumerate(row.tolist()))
        assert {score.index: score.cosine for score in result.scores} == pytest.approx(wanted, abs=1e-3)


def test_different_inputs_have_different_embeddings(expected):
    """Else the comparison could not fail."""
    assert comparing.likeness(expected["images"]) < comparing.MOST_ALIKE
    assert comparing.likeness(expected["texts"]) < comparing.MOST_ALIKE


def test_the_demo_is_served_beside_them(client):
    found = client.embed_texts(["a photo of a cat", "a photo of a dog"], model="demo").embeddings
    assert found.shape == (2, 256)
    assert 0 < float(found[0] @ found[1]) < 0.999
