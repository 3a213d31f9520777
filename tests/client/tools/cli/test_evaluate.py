"""`clipserve evaluate`."""

from __future__ import annotations

import pytest
from client.pictures import pixels, png
from clipserve import Client
from PIL import Image


@pytest.fixture
def cifar(tmp_path):
    """Twenty pictures in CIFAR-10's binary layout."""
    rows = [bytes([i % 10]) + pixels(i, 32, 32).transpose(2, 0, 1).tobytes() for i in range(20)]
    (tmp_path / "test_batch.bin").write_bytes(b"".join(rows))
    return tmp_path


def test_sets_are_evaluated(run, answer, cifar, server):
    text = run("evaluate", "cifar10", "--data", cifar).output
    assert "CIFAR-10 test" in text
    assert "airplane" in text
    document = answer("evaluate", "cifar10", "--data", cifar, "--limit", "10")
    assert (document["images"], document["templates"], document["classes"]) == (10, 18, 10)
    with Client(server.address) as client:
        labels = [str(name) for name in ("airplane", "automobile")]
        assert client.classify([pixels(0, 32, 32)], labels)[0].label in labels


def test_templates_are_ones_own(answer, cifar, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("{}\na {}\n")
    document = answer("evaluate", "cifar10", "--data", cifar, "-t", "the {}", "--templates-file", prompts)
    assert document["templates"] == 3


def test_reports_and_predictions_are_written(run, cifar, tmp_path):
    for report, predictions in (("r.html", "p.csv"), ("r.png", "p.npz")):
        run(
            "evaluate",
            "cifar10",
            "--data",
            cifar,
            "--report",
            tmp_path / report,
            "--predictions",
            tmp_path / predictions,
        )
        assert (tmp_path / report).exists()
        assert (tmp_path / predictions).exists()
    run("evaluate", "cifar10", "--data", cifar, "--report", "r.pdf", code=2)
    run("evaluate", "cifar10", "--data", cifar, "--predictions", "p.txt", code=2)


def test_folders_of_classes_are_evaluated_and_broken_ones_listed(run, answer, tmp_path):
    for i, name in enumerate(("red_panda/a.png", "red_panda/b.png", "tiger/c.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(i))
    assert answer("evaluate", "folder", "--data", tmp_path)["classes"] == 2
    (tmp_path / "tiger" / "d.png").write_bytes(b"junk")
    result = run("evaluate", "folder", "--data", tmp_path, code=3)
    assert "tiger/d.png  not an image" in result.stderr
    assert "images[" not in result.stderr
    assert "red panda" in result.stdout


def test_imagenet_is_evaluated(answer, tmp_path):
    for wnid in ("n01440764", "n02123045"):
        (tmp_path / wnid).mkdir()
        Image.fromarray(pixels(1)).save(tmp_path / wnid / "x.JPEG", "JPEG")
    document = answer("evaluate", "imagenet", "--data", tmp_path, "-t", "{}")
    assert (document["classes"], document["images"]) == (1000, 2)


def test_sets_that_cannot_be_read_say_why(run, tmp_path):
    text = run("evaluate", "cifar10", "--data", tmp_path, code=1).output
    assert text.startswith("Error: no CIFAR-10 test set found")
