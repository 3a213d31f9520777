"""Pictures and texts of the command's own, always the same."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDES = (24, 33, 48, 57, 64, 80, 97)
COLORS = ("red", "green", "blue", "white", "black", "yellow", "orange")
THINGS = ("cat", "house", "bicycle", "mountain", "cup of coffee", "book on a table", "sailing boat at sea")
TEXTS = (
    "dog",
    "一只在雪地里奔跑的狗",
    "красная машина на улице",
    "قارب صغير في البحر",
    "गाँव में एक पेड़",
    "a café on a rainy evening, 1,250 m above the sea & far from everything",
    "🐟🐠🐡",
)


def picture_arrays(count: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Different pictures of smooth colors and a little noise: uint8 [H, W, 3], sides from 24 to 97."""
    for seed in range(count):
        random = np.random.default_rng(seed)
        width, height = SIDES[seed % 7], SIDES[(3 * seed + 1) % 7]
        colors = Image.fromarray(random.integers(0, 256, (3, 4, 3), np.uint8))
        smooth = np.asarray(colors.resize((width, height), Image.Resampling.BICUBIC), np.int16)
        yield (smooth + random.integers(-9, 10, smooth.shape)).clip(0, 255).astype(np.uint8)


def png(array: npt.NDArray[np.uint8]) -> bytes:
    """The picture as a file that loses nothing."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def sample_texts(count: int) -> list[str]:
    """Up to 56 different texts of several scripts, from one word to a long sentence."""
    described = [f"a photo of a {color} {thing}" for color in COLORS for thing in THINGS]
    longer = [f"{text}{', seen from afar' * (i % 5)}" for i, text in enumerate(described)]
    return [*TEXTS, *longer][:count]


def long_text(context_length: int) -> str:
    """A text with more words, and so more tokens, than the context has room for."""
    return " ".join(f"{COLORS[i % 7]} {THINGS[i % 3]}" for i in range(context_length))
