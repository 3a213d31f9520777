"""Pictures as the frozen image trunk sees them: 1,280 numbers each, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

SIZE = 224
MAX_PIXELS = 8_000_000
"""Clip art larger than this (posters, printed at 300 dpi) is left out."""
SKIPPED = {"shapes", "icons", "buttons", "flowchart", "patterns", "gradients", "duplicates", "logos", "cards"}
"""Folders of clip art that show nothing a word could name."""
HUES = (15, 42, 68, 165, 255, 290, 340)
"""Degrees at which one color ends and the next begins."""
NAMES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "red")

Image.MAX_IMAGE_PIXELS = None  # Sizes are looked at before anything is decoded.


def pixels(image: Image.Image) -> Tensor:
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
    trunk: Callable[[Tensor], Tensor], images: Iterable[Image.Image], total: int, what: str
) -> Tensor:
    """Pooled features of RGB pictures: float32 [total, 1280]."""
    found, batch = [], []
    for number, image in enumerate(track(images, what, total=total), start=1):
        batch.append(pixels(image))
        if len(batch) == 32 or number == total:
            found.append(trunk(torch.stack(batch).contiguous(memory_format=torch.channels_last)))
            batch = []
    return torch.cat(found)


@dataclass(frozen=True)
class ClipArt:
    """A picture and what its file's name says it shows."""

    path: Path
    title: str
    group: str
    """The folder's name; empty where it says nothing."""

    def captions(self, color: str) -> list[str]:
        """Ways to say it; `color` may be empty."""
        found = [self.title, self.title]
        if self.group and self.group not in self.title:
            found.append(f"{self.title}, {self.group}")
        if color and color not in self.title:
            found.append(f"{color} {self.title}")
        return found


def clip_art(folder: Path, known: set[str]) -> list[ClipArt]:
    """Clip art whose file name holds words that are `known`: `red_eagle_jane_doe_01.png` → `red eagle`."""
    found = []
    for path in sorted(folder.rglob("*.png")):
        if SKIPPED & set(path.parts) or "theme" in str(path):
            continue
        group = "flag" if "flags" in path.parts else path.parent.name.replace("_", " ")
        title = title_of(path.stem, known) or group
        if title == "unsorted":
            continue
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                continue
        found.append(ClipArt(path, title, "" if group == "unsorted" else group))
    return found


def title_of(stem: str, known: set[str]) -> str:
    """The known words of a file name, without the two that name the author before a closing number."""
    words = stem.replace("-", "_").split("_")
    if len(words) > 1 and (words[-1].isdigit() or len(words[-1]) == 1):
        words = words[: max(1, len(words) - 3)]
    kept = [word.lower().rstrip("0123456789") for word in words]
    return " ".join([word for word in kept if len(word) > 2 and word in known][:4])


def main_color(image: Image.Image) -> str:
    """The color that at least 45 % of what is not white has in an RGB picture; empty if there is none."""
    hsv = np.asarray(image.resize((32, 32)).convert("HSV"), np.float32).reshape(-1, 3) / 255
    hue, saturation, value = hsv.T
    names = np.array(NAMES)[np.searchsorted(HUES, hue * 360, side="right")]
    names[(names == "orange") & (value < 0.65)] = "brown"
    names[saturation < 0.15] = "gray"
    names[value < 0.2] = "black"
    names = names[(value < 0.93) | (saturation > 0.1)]
    if len(names) < 40:
        return ""
    found, counts = np.unique(names, return_counts=True)
    return str(found[counts.argmax()]) if counts.max() >= 0.45 * len(names) else ""
