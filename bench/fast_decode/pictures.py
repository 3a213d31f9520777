"""Large JPEGs of three kinds: photographs, screenshots, fine regular textures."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZES = ((1280, 960), (2000, 1500), (4000, 3000))
SCREENS = ((1920, 1080, 1), (3840, 2160, 1), (3840, 2160, 2), (5120, 2880, 2))
"""Width, height, and scale of letters."""
CODINGS = ((75, 2), (95, 0))
"""JPEG quality, and how colors are sampled: 2 for half of the pixels each way, 0 for all."""
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "import", "return", "self")
random = np.random.default_rng(0)

Paint = Callable[[int, int, int], Image.Image]


def pictures(folders: list[Path]) -> Iterator[tuple[str, str, bytes]]:
    """Kind, name and bytes of each; photographs are those of the folders, repeated to fill the size."""
    for file in sorted(
        file for folder in folders for file in folder.iterdir() if file.suffix in (".jpg", ".png")
    ):
        for width, height in SIZES:
            yield from coded("photographs", file.stem, tiled(file, width, height))
    for name, paint in PAINTED.items():
        for width, height, scale in SCREENS:
            yield from coded("screenshots", f"{name} × {scale}", paint(width, height, scale))
    for name, texture in TEXTURES.items():
        for width, height in SIZES[1:]:
            yield from coded("textures", name, texture(width, height))


def coded(kind: str, name: str, image: Image.Image) -> Iterator[tuple[str, str, bytes]]:
    for quality, sampling in CODINGS:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, subsampling=sampling)
        yield kind, f"{name}, {image.width} × {image.height}, quality {quality}", file.getvalue()


def tiled(file: Path, width: int, height: int) -> Image.Image:
    """A picture and its mirror images side by side: as fine as the file, as large as is wanted."""
    once = np.asarray(Image.open(file).convert("RGB"))
    wide = np.concatenate([once, once[:, ::-1]], 1)
    whole = np.concatenate([wide, wide[::-1]])
    times = height // whole.shape[0] + 1, width // whole.shape[1] + 1, 1
    return Image.fromarray(np.tile(whole, times)[:height, :width])


def written(
    image: Image.Image, box: tuple[float, float, float, float], size: int, colors: list[str | tuple[int, ...]]
) -> None:
    """Lines of words."""
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    left, top, right, bottom = box
    while top + size < bottom:
        words = " ".join(random.choice(WORDS, int(random.uniform(1, (right - left) / size / 3))))
        draw.text((left, top), words, colors[int(random.integers(len(colors)))], font)
        top += 1.4 * size


def editor(width: int, height: int, scale: int) -> Image.Image:
    image = Image.new("RGB", (width, height), (30, 30, 30))
    written(image, (20, 20, width, height), 14 * scale, ["lightgray", (86, 156, 214), (206, 145, 120)])
    return image


def terminal(width: int, height: int, scale: int) -> Image.Image:
    image = Image.new("RGB", (width, height), "black")
    written(image, (5, 5, width, height), 13 * scale, [(0, 220, 0)])
    return image


def web(width: int, height: int, scale: int) -> Image.Image:
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).rectangle((0, 0, width, 60 * scale), (24, 119, 242))
    written(image, (40, 80 * scale, width - 40, height), 15 * scale, [(60, 60, 60)])
    return image


def table(width: int, height: int, scale: int) -> Image.Image:
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12 * scale)
    for top in range(0, height, 20 * scale):
        draw.line((0, top, width, top), (212, 212, 212))
        for left in range(0, width, 96 * scale):
            draw.text((left + 4, top + 3), f"{random.uniform(0, 9999):.2f}", "black", font)
    return image


def chart(width: int, height: int, scale: int) -> Image.Image:
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for color in ("red", "blue", "green", "orange"):
        heights = np.cumsum(random.normal(0, 6 * scale, width // 4)) + height * random.uniform(0.3, 0.7)
        draw.line([(4 * i, float(at)) for i, at in enumerate(heights)], color, 2 * scale)
    return image


def window(width: int, height: int, scale: int) -> Image.Image:
    """A window of text in front of a grid."""
    image = Image.new("RGB", (width, height), (240, 240, 240))
    draw = ImageDraw.Draw(image)
    for left in range(0, width, 240):
        draw.rectangle((left, 0, left + 1, height), (90, 90, 90))
    for top in range(0, height, 30):
        draw.line((0, top, width, top), (200, 200, 200))
    box = (width // 4, height // 4, width * 3 // 4, height * 3 // 4)
    draw.rectangle(box, "white")
    written(image, box, 22 * scale, ["black"])
    return image


def gray(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")


def grid(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    down, across = np.mgrid[0:height, 0:width]
    return across, down


def checks(side: int) -> Callable[[int, int], Image.Image]:
    def texture(width: int, height: int) -> Image.Image:
        across, down = grid(width, height)
        return gray((across // side + down // side) % 2 * 255)

    return texture


def lines(side: int) -> Callable[[int, int], Image.Image]:
    return lambda width, height: gray(grid(width, height)[1] // side % 2 * 255)


def halftone(side: int) -> Callable[[int, int], Image.Image]:
    def texture(width: int, height: int) -> Image.Image:
        across, down = grid(width, height)
        shade = np.hypot(across - width / 2, down - height / 2) / np.hypot(width / 2, height / 2)
        return gray((np.hypot(across % side - side / 2, down % side - side / 2) / side * 1.4 > shade) * 255)

    return texture


def rings(width: int, height: int) -> Image.Image:
    across, down = grid(width, height)
    return gray(127.5 + 127.5 * np.sin((across**2 + down**2) / 3000.0))


def stars(width: int, height: int) -> Image.Image:
    values = np.zeros((height, width))
    at = random.integers(0, height, 6000), random.integers(0, width, 6000)
    values[at] = random.integers(80, 256, 6000)
    return gray(values)


def two_colors(width: int, height: int) -> Image.Image:
    across, down = grid(width, height)
    odd = ((across + down) % 2).astype(np.uint8)
    return Image.fromarray(np.dstack([255 * odd, 0 * odd, 255 - 255 * odd]))


PAINTED: dict[str, Paint] = {
    "code": editor,
    "terminal": terminal,
    "page": web,
    "table": table,
    "chart": chart,
    "window": window,
}
TEXTURES: dict[str, Callable[[int, int], Image.Image]] = {
    **{f"checks of {side}": checks(side) for side in (1, 2, 3)},
    **{f"lines of {side}": lines(side) for side in (1, 4)},
    **{f"halftone of {side}": halftone(side) for side in (5, 7)},
    "rings": rings,
    "stars": stars,
    "red and blue checks": two_colors,
}
