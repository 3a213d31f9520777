"""A labelled set through the fake server, and what is written of it."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from client.fake_model import embed_pixels, embed_text, unit
from client.pictures import pixels
from clipserve.tools.evaluation.dataset import Dataset, DatasetError, Sample
from clipserve.tools.evaluation.predictions import write_predictions
from clipserve.tools.evaluation.report import make_report, percent, write_report
from clipserve.tools.evaluation.run import Evaluator
from PIL import Image

CLASSES = ("cat", "dog", "<b>&bird", "cat")
TEMPLATES = ("a {}.", "one {} here.")


def dataset(count=30, broken=()):
    samples = [Sample(f"p{i}.png", b"x" if i in broken else pixels(i), i % 4) for i in range(count)]
    return Dataset("Tiny set", CLASSES, samples, TEMPLATES)


def offline(images):
    """Cosines [N, C] of the same embeddings, without a service."""
    prompts = [[unit(embed_text(t.replace("{}", name))) for t in TEMPLATES] for name in CLASSES]
    labels = [unit(np.mean(rows, axis=0)) for rows in prompts]
    return np.array([[unit(embed_pixels(Image.fromarray(i))) @ label for label in labels] for i in images])


@pytest.fixture
def evaluation(client):
    evaluator = Evaluator(client, dataset(broken={7}))
    evaluator.encode_labels()
    return evaluator.run()


def test_predictions_equal_an_offline_run(evaluation):
    cosines = offline([pixels(i) for i in range(30)])
    for i, prediction in enumerate(evaluation.predictions):
        if i == 7:
            assert prediction.ranked == ()
            assert prediction.name == "p7.png"
            assert prediction.error.startswith("not an image")
            assert "images[" not in prediction.error
            continue
        assert prediction.ranked[0] == int(np.argmax(cosines[i]))
        np.testing.assert_allclose(prediction.cosines[:2], np.sort(cosines[i])[::-1][:2], atol=1e-6)


def test_names_that_two_classes_bear_are_sent_once(server, evaluation):
    assert evaluation.tally.failed == 1
    assert evaluation.tally.answered == 29
    assert evaluation.tally.confusion[:, 3].sum() == 0  # the first cat wins, as in an argmax
    assert set(evaluation.predictions[0].ranked) == {0, 1, 2, 3}
    assert len(server.seen("Classify")) == 1 + 2


def test_progress_and_summary(client):
    seen = []
    evaluator = Evaluator(client, dataset(), templates=["{}!"])
    evaluation = evaluator.run(seen.append)
    assert seen[-1] == 30
    summary = evaluation.summary()
    assert summary["images"] == 30
    assert summary["templates"] == 1
    assert summary["model"] == "fake"
    assert 0 <= summary["top1"] <= summary["top5"] <= 1
    assert summary["images_per_second"] > 0
    assert [row["class"] for row in summary["per_class"]] == list(CLASSES)


def test_sets_without_readable_pictures_are_refused(client):
    with pytest.raises(DatasetError, match="has no pictures"):
        Evaluator(client, dataset(0))
    with pytest.raises(DatasetError, match=r"no picture of Tiny set can be read: p0\.png: not an image"):
        Evaluator(client, dataset(2, broken={0, 1})).run()


def test_predictions_are_written_as_csv(evaluation, tmp_path):
    write_predictions(evaluation, tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(rows) == 30
    first = evaluation.predictions[0]
    assert rows[0]["name"] == "p0.png"
    assert int(rows[0]["predicted"]) == first.ranked[0]
    assert np.float32(rows[0]["cosine1"]) == np.float32(first.cosines[0])
    assert rows[2]["label_name"] == "<b>&bird"
    assert (rows[7]["predicted"], rows[7]["cosine1"]) == ("", "")
    assert rows[7]["error"]


def test_predictions_are_written_as_arrays(evaluation, tmp_path):
    write_predictions(evaluation, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["label"].tolist() == [i % 4 for i in range(30)]
        assert arrays["predicted"][7] == -1
        assert np.isnan(arrays["cosine1"][7])
        np.testing.assert_allclose(arrays["cosine2"][0], evaluation.predictions[0].cosines[1])
        assert arrays["classes"].tolist() == list(CLASSES)
        assert str(arrays["fingerprint"]) == "f" * 64


def test_other_suffixes_are_refused(evaluation, tmp_path):
    with pytest.raises(ValueError, match=r"written as .csv or .npz"):
        write_predictions(evaluation, tmp_path / "out.txt")
    with pytest.raises(ValueError, match=r"written as .html or .png"):
        write_report(evaluation, tmp_path / "out.txt")


def test_a_matrix_has_every_class_and_its_counts(evaluation):
    report = make_report(evaluation)
    assert list(report.matrix.columns) == list(CLASSES)
    assert sum(cell.images for _, row in report.matrix.rows for cell in row) == 29
    for _, row in report.matrix.rows:
        assert sum(cell.share for cell in row) == pytest.approx(1)
        assert sum(cell.right for cell in row) == 1
    assert dict(report.figures)["Failed"] == "1"


def test_the_page_needs_nothing_else_and_escapes_names(evaluation, tmp_path):
    write_report(evaluation, tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text()
    assert "&lt;b&gt;&amp;bird" in page
    assert "<b>&bird" not in page
    assert "Tiny set" in page
    for fetched in ("http:", "https:", "<script", "<link", "url("):
        assert fetched not in page


def test_the_picture_shows_every_class(evaluation, tmp_path):
    write_report(evaluation, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.width > 500
        assert image.height > 500
        assert len(image.getcolors(1 << 20)) > 20


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_many_classes_become_lists(client, tmp_path, suffix):
    classes = tuple(f"class {i}" for i in range(60))
    many = Dataset("Many", classes, [Sample(f"{i}", pixels(i, 4, 4), i) for i in range(60)], ("{}",))
    evaluation = Evaluator(client, many).run()
    report = make_report(evaluation)
    assert report.matrix is None
    assert sum(report.histogram()) == 60
    assert len(report.worst(20)) == 20
    write_report(evaluation, tmp_path / f"out{suffix}")
    assert (tmp_path / f"out{suffix}").stat().st_size > 5000


def test_shares_are_written_for_people():
    assert percent(0.12345) == "12.3 %"
    assert percent(float("nan")) == "–"
