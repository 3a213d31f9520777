"""Classifies CIFAR-10 with the files that Triton serves, but without Triton: the reference for its answers.

    python -m bench.offline REPOSITORY NAME cifar10_test.npz --out predictions.npz

Exact preprocessing: whole decode by Pillow, short side to the model's size, bicubic, center crop; float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import torch
from clipserve_exporter.cifar10 import NAMES, TEMPLATES, Cifar10
from clipserve_exporter.torchvision_shim import make_importable
from clipserve_exporter.versions import served_version
from PIL import Image
from rich.progress import track
from torch import Tensor

make_importable()

from open_clip import SimpleTokenizer  # noqa: E402  (needs torchvision to be importable)

END = 49407


def exact_pixels(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """Resizes the short side to `size`, bicubic, and crops the center: RGB uint8 [size, size, 3]."""
    image = image.convert("RGB")
    width, height = image.size
    short = min(width, height)
    width, height = (size if side == short else int(size * side / short) for side in (width, height))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


class Towers:
    """The image and text graph of one model in a Triton model repository.

    The text tower must be ragged.
    """

    def __init__(self, repository: Path, name: str) -> None:
        self.image, self.text = (
            torch.jit.load(str(folder / served_version(folder) / "model.pt"), map_location="cpu")
            for folder in (repository / f"{name}_image", repository / f"{name}_text")
        )
        self._tokenize = SimpleTokenizer()

    @torch.no_grad()
    def encode_images(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """uint8 [B, S, S, 3] → normalized float32 [B, D]."""
        return torch.nn.functional.normalize(self.image(torch.from_numpy(pixels)), dim=-1)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts → normalized float32 [B, D], without the tokens after the end token."""
        rows = [row[: int(row.argmax()) + 1].int() for row in self._tokenize(list(texts))]
        lengths = torch.tensor([[len(row)] for row in rows], dtype=torch.float32)
        return torch.nn.functional.normalize(self.text(torch.cat(rows), lengths), dim=-1)

    def label_embeddings(self, labels: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Returns the normalized mean of each label's prompt embeddings, float32 [labels, D]."""
        means = [self.encode_texts([t.replace("{}", label) for t in templates]).mean(0) for label in labels]
        return torch.nn.functional.normalize(torch.stack(means), dim=-1)


def cosines(towers: Towers, images: Iterable[Image.Image], total: int, labels: Tensor, size: int) -> Tensor:
    """Returns the cosines of images and label embeddings, float32 [total, labels]."""
    rows, batch = [], []
    for number, image in enumerate(track(images, "classifying", total=total), start=1):
        batch.append(exact_pixels(image, size))
        if len(batch) == 32 or number == total:
            rows.append(towers.encode_images(np.stack(batch)) @ labels.T)
            batch = []
    return torch.cat(rows)


@click.command(help=__doc__)
@click.argument("repository", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("name")
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--size", default=224, show_default=True, help="Size of the image tower's input in pixels.")
@click.option("--limit", type=int, help="Number of images to classify.  [default: all]")
@click.option("--out", type=click.Path(path_type=Path), help="npz: cosines [n, 10], prediction, label [n].")
def main(repository: Path, name: str, data: Path, size: int, limit: int | None, out: Path | None) -> None:
    """Classifies CIFAR-10's test images with the 18 templates and prints the accuracy."""
    cifar = Cifar10(data)
    count = min(limit or len(cifar), len(cifar))
    towers = Towers(repository, name)
    labels = towers.label_embeddings(NAMES, TEMPLATES)
    scores = cosines(towers, cifar.images(range(count)), count, labels, size).numpy()
    predicted, truth = scores.argmax(1), cifar.labels[:count]
    if out is not None:
        np.savez(out, cosines=scores, prediction=predicted, label=truth)
    for index, label in enumerate(NAMES):
        if (truth == index).any():
            click.echo(f"{label:>12}  {(predicted[truth == index] == index).mean():.3f}")
    top5 = (np.argsort(-scores, axis=1)[:, :5] == truth[:, None]).any(1).mean()
    click.echo(f"top-1 {(predicted == truth).mean():.4f}   top-5 {top5:.4f}   of {count} pictures")


if __name__ == "__main__":
    main()
