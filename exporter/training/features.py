"""Pictures as the frozen image trunk sees them: 1,280 numbers each, computed once."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track

SIZE = 224
MAX_PIXELS = 8_000_000
"""Clip art larger than this (posters, printed at 300 dpi) is left out."""

Image.MAX_IMAGE_PIXELS = None


def pixels(image: Image.Image) -> torch.Tensor:
    """Shortest side to 224, bicubic, center crop, scaled to −1…1: float32 [3, 224, 224]."""
    width, height = image.size
    tall = width <= height
    scaled = (SIZE, int(SIZE * height / width)) if tall else (int(SIZE * width / height), SIZE)
    image = image.resize(scaled, Image.Resampling.BICUBIC)
    left, top = round((scaled[0] - SIZE) / 2), round((scaled[1] - SIZE) / 2)
    array = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)), np.float32)
    return torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1


def flattened(image: Image.Image) -> Image.Image:
    """RGB, on white where it was transparent."""
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


@torch.no_grad()
def trunk_features(
    trunk: Callable[[torch.Tensor], torch.Tensor], images: Iterable[torch.Tensor], total: int, what: str
) -> torch.Tensor:
    """Pooled features of images (float32 [3, 224, 224] each): float32 [total, 1280]."""
    found, batch = [], []
    for image in track(images, what, total=total):
        batch.append(image)
        if len(batch) == 32:
            found.append(trunk(torch.stack(batch).contiguous(memory_format=torch.channels_last)))
            batch = []
    if batch:
        found.append(trunk(torch.stack(batch)))
    return torch.cat(found)


class Cifar10:
    """CIFAR-10 as an npz of JPEG files: `jpeg` uint8 (all files), `offset` int64 [n + 1], `label` uint8."""

    def __init__(self, path: Path) -> None:
        data = np.load(path)
        self.labels = torch.from_numpy(data["label"].astype(np.int64))
        self._bytes, self._offsets = data["jpeg"].tobytes(), data["offset"]

    def images(self, indices: Iterable[int]) -> Iterator[torch.Tensor]:
        """Pictures by index, as `pixels` gives them."""
        for i in indices:
            data = self._bytes[self._offsets[i] : self._offsets[i + 1]]
            yield pixels(Image.open(io.BytesIO(data)).convert("RGB"))


def clipart(folder: Path) -> list[tuple[Path, str]]:
    """Clip art files and captions made of their names: `eagle_flying_01.png` → `eagle flying`."""
    found = []
    for path in sorted(folder.rglob("*.png")):
        skipped = {"shapes", "icons", "buttons", "flowchart", "patterns", "gradients", "duplicates", "logos"}
        if skipped & set(path.parts) or "theme" in str(path):
            continue
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                continue
        words = [word for word in path.stem.replace("-", "_").split("_") if word.isalpha() and len(word) > 2]
        group = path.parent.name.replace("_", " ")
        caption = " ".join(words[:3]) if words else group
        found.append(
            (path, f"{caption}, {group}" if group not in caption and group != "unsorted" else caption)
        )
    return found
