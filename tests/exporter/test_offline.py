"""Predictions without Triton: the pixels are open_clip's, the graphs are those of the repository."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from clipserve_exporter.preprocessing import Preprocess
from clipserve_exporter.reference import load_pixels
from clipserve_exporter.versions import versioned
from PIL import Image

from bench import offline


class MeanColor(torch.nn.Module):
    """Red, green and blue of a picture as its embedding."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float().mean(dim=[1, 2])


class Lengths(torch.nn.Module):
    """A text's token sum, its length and one as its embedding."""

    def forward(self, flat: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        sums: list[torch.Tensor] = []
        at = 0
        for row in range(lengths.shape[0]):
            count = int(lengths[row, 0])
            sums.append(flat[at : at + count].sum().float())
            at += count
        return torch.stack([torch.stack(sums), lengths[:, 0], torch.ones(lengths.shape[0])], dim=1)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, graph in (("tiny_image", MeanColor()), ("tiny_text", Lengths())):
        (tmp_path / name / "1").mkdir(parents=True)
        torch.jit.script(graph).save(str(tmp_path / name / "1" / "model.pt"))
    return tmp_path


def test_the_version_that_is_served_is_the_one_that_is_asked(repository: Path) -> None:
    for tower in ("tiny_image", "tiny_text"):
        (repository / tower / "1").rename(repository / tower / "77")
        (repository / tower / "config.pbtxt").write_text(versioned("", "77"))
    assert offline.Towers(repository, "tiny").encode_texts(["a"]).shape == (1, 3)


SIDES = [(32, 32), (33, 32), (32, 33), (1, 1), (1, 50), (97, 61), (61, 97), (45, 46), (90, 31), (224, 223)]


def square(size: int) -> Preprocess:
    """open_clip's default preprocessing of this size."""
    return Preprocess(size, size, (0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("size", [31, 32])
@pytest.mark.parametrize(("width", "height"), SIDES)
def test_pixels_equal_open_clips(width: int, height: int, size: int) -> None:
    pixels = np.random.default_rng(width * 91 + height).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    found = offline.exact_pixels(Image.open(io.BytesIO(file.getvalue())), size)
    assert np.array_equal(found, load_pixels(file.getvalue(), square(size)))


def test_texts_go_in_at_their_own_length(repository: Path) -> None:
    towers = offline.Towers(repository, "tiny")
    texts = ["a", "a photo of a cat", ""]
    together = towers.encode_texts(texts)
    assert together.shape == (3, 3)
    assert torch.equal(together, torch.cat([towers.encode_texts([text]) for text in texts]))
    assert torch.allclose(together.norm(dim=-1), torch.ones(3))


def test_predictions_and_accuracy_are_written(repository: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "test.npz", tmp_path / "out.npz"
    files = []
    for shade in (30, 120, 250):
        file = io.BytesIO()
        Image.new("RGB", (32, 32), (shade, 255 - shade, 40)).save(file, "PNG")
        files.append(np.frombuffer(file.getvalue(), np.uint8))
    offsets = np.cumsum([0, *map(len, files)])
    np.savez(data, jpeg=np.concatenate(files), offset=offsets, label=np.array([3, 3, 5], np.uint8))
    arguments = [str(repository), "tiny", str(data), "--size", "32", "--limit", "2", "--out", str(out)]
    result = CliRunner().invoke(offline.main, arguments)
    assert result.exit_code == 0, result.output
    assert "of 2 pictures" in result.output
    with np.load(out) as written:
        assert written["cosines"].shape == (2, 10)
        assert np.array_equal(written["prediction"], written["cosines"].argmax(1))
        assert written["label"].tolist() == [3, 3]
