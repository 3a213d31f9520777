"""Image bytes to the pixels that an image encoder sees.

Exact mode reproduces open_clip's (and OpenAI's) preprocessing to the bit, in their order: shortest side to
`size` (the long one to int(size × long / short)), bicubic; center crop; RGB. An embedding is worth
comparing only with embeddings of the same pixels, so what that order makes of odd images holds here too:

- EXIF orientation is not applied: a photo counts as its pixels are stored. (TIFF's own orientation tag is;
  there the decoder itself obeys it.) Color profiles are ignored.
- Alpha is dropped after resizing, without a background: what shows is the color under it, which for fully
  transparent pixels is black once they have been resized.
- Palette and 1-bit images are resized by nearest neighbor; a palette's transparent color shows as itself.
- CMYK is resized as CMYK and then converted without a profile.
- Of animations and multi-page files, the first frame is taken.

Where open_clip gives no sensible picture, this module departs from it: 16-bit gray keeps its upper byte, as
16-bit color does (open_clip clips it to white), 12-bit gray its upper eight bits, a palette with alpha is
resized as one without, and pixels of 32-bit integers or floating point, which have no agreed range, are
refused.

Fast mode lets the JPEG decoder scale down by 2, 4 or 8, to no less than SCALED_SIDES times the target. The
target is that of the original size, so the crop does not move. Pictures that this would change, which are
drawings on one background, halftones and those almost of one color, are decoded once more, exactly. And fast
mode resizes no more of any picture than the crop (see `fitting`). docs/performance.md has what this changes.
"""

from __future__ import annotations

import io
import logging
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

# The formats that are accepted, by name: else the first WebP or TIFF has Pillow import all it knows.
from PIL import (  # noqa: F401
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from clipserve_gateway.errors import (
    ClipserveError,
    ImageError,
    ImageTooLarge,
    ImageUnreadable,
)
from clipserve_gateway.flow.wanted import check_wanted
from clipserve_gateway.inputs import image_decoders
from clipserve_gateway.inputs.fitting import WHOLE_PIXELS, eight_bit, fitted, is_delicate, is_flat, resized
from clipserve_gateway.inputs.image_file import READS_TO_DECODE, open_file
from clipserve_gateway.inputs.image_limits import ImageLimits, check_header, check_pixels
from clipserve_gateway.inputs.image_memory import BUFFER_BYTES, LARGE_BYTES, decoder_bytes
from clipserve_gateway.types import Pixels

T = TypeVar("T")

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

SCALED_SIDES = 4
"""Sides of the target that a scaled JPEG has at least; fewer change the embeddings of photographs, too."""

image_decoders.install()

# What is odd about a file is its sender's business, and no news to the server's log.
warnings.filterwarnings("ignore", module="PIL")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Opened:
    """An image whose header has passed, not decoded yet."""

    image: Image.Image
    region: tuple[float, float]
    """Width and height, from its origin, of what counts of the decoded picture."""
    target: tuple[int, int]
    """Width and height once it is resized."""
    size: int
    fast: bool
    scaled: bool
    """Whether the decoder makes it smaller."""
    pixels: int
    """Of the file."""
    bytes: int
    """What decoding and resizing take of memory, at most."""


def load_image(content: bytes, size: int, *, limits: ImageLimits, fast: bool) -> Pixels:
    """The pixels of an encoded image: uint8 [size, size, 3], read-only.

    Raises ImageUnreadable, ImageFormatUnsupported or ImageTooLarge; whatever a malformed file makes the
    decoder raise becomes ImageUnreadable. Nothing is decoded before the header has passed.
    """
    found = opened(content, size, limits=limits, fast=fast)
    pixels = guarded(lambda: decoded(found))
    return load_image(content, size, limits=limits, fast=False) if pixels is None else pixels


def load_small(
    content: bytes,
    size: int,
    *,
    limits: ImageLimits,
    fast: bool,
    on_large: Callable[[int], None] = lambda megapixels: None,
) -> Pixels | None:
    """As load_image; but None, and nothing decoded, where that takes more than LARGE_BYTES of memory.

    `on_large` is then told how many millions of pixels the file has, rounded up.
    """
    found = opened(content, size, limits=limits, fast=fast)
    if found.bytes > LARGE_BYTES:
        on_large(math.ceil(found.pixels / 1e6))
        return None
    pixels = guarded(lambda: decoded(found))
    if pixels is None:
        return load_small(content, size, limits=limits, fast=False, on_large=on_large)
    return pixels


PYTHON_WORDS = re.compile(
    r"\w\(\)|\bb'|invalid literal|could not convert|unpack|object|index out of range|argument|codec|^\W*$"
)
"""In messages of Python itself, which say nothing of an image to who sent it."""


def opened(content: bytes, size: int, *, limits: ImageLimits, fast: bool) -> Opened:
    """The image, up to its header; raises as load_image does."""
    if len(content) > limits.max_bytes:
        raise ImageTooLarge(
            f"the image has {len(content)} bytes; at most {limits.max_bytes} are accepted",
            metadata={"limit": str(limits.max_bytes)},
        )
    file = open_file(content)
    image = guarded(lambda: Image.open(file, formats=FORMATS))
    guarded(lambda: check_header(image, len(content), limits))
    file.reads_left = READS_TO_DECODE
    return guarded(lambda: prepared(image, content, size, fast=fast))


def load_raw(rgb: bytes, width: int, height: int, size: int, *, limits: ImageLimits, fast: bool) -> Pixels:
    """The pixels of a decoded picture, RGB8 row by row: uint8 [size, size, 3], read-only.

    Raises ImageTooLarge, or ImageUnreadable where the bytes are not width × height × 3.
    """
    try:
        check_pixels(width, height, limits.max_pixels)
    except ImageError as error:
        raise error.at("raw") from None
    if len(rgb) != width * height * 3:
        raise ImageUnreadable(
            f"{width} × {height} RGB pixels are {width * height * 3} bytes, not {len(rgb)}", field="raw.rgb"
        )
    image = Image.frombuffer("RGB", (width, height), rgb, "raw", "RGB", 0, 1)
    return fitted(image, image.size, resized(width, height, size), size, fast=fast)


def to_png(rgb: bytes, width: int, height: int) -> bytes:
    """Decoded pixels, RGB8 row by row, as a PNG file."""
    file = io.BytesIO()
    Image.frombuffer("RGB", (width, height), rgb, "raw", "RGB", 0, 1).save(file, "PNG", compress_level=1)
    return file.getvalue()


def guarded(step: Callable[[], T]) -> T:
    """A step of decoding, with whatever it raises told as what is wrong with the image."""
    try:
        return step()
    except ClipserveError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageUnreadable(f"not an image of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ImageTooLarge("the image has far more pixels than are accepted") from None
    except MemoryError:
        raise ImageTooLarge("the image needs more memory than there is") from None
    except Exception as error:
        why = "it is damaged, or no image" if PYTHON_WORDS.search(str(error)) else str(error)[:200]
        raise ImageUnreadable(f"the image cannot be decoded: {why}") from error


def prepared(image: Image.Image, content: bytes, size: int, *, fast: bool) -> Opened:
    """The image with all that is known before it is decoded."""
    original, target = image.size, resized(image.width, image.height, size)
    pixels = image.width * image.height
    draft = image.draft("RGB", (SCALED_SIDES * target[0], SCALED_SIDES * target[1])) if fast else None
    # A scaled JPEG's last row and column may stand for less than a whole pixel.
    region = draft[1][2:] if draft else image.size
    whole = target[0] * target[1] <= WHOLE_PIXELS
    # Pillow resizes across first, then down.
    resizing = 4 * (target[0] * image.height + target[0] * target[1]) if whole else 0
    memory = BUFFER_BYTES + decoder_bytes(image, pixels, content) + resizing
    return Opened(image, region, target, size, fast, image.size != original, pixels, memory)


def decoded(found: Opened) -> Pixels | None:
    """Decodes an opened image and fits it; None for a picture that is to be decoded exactly, and was not."""
    check_wanted("decode")
    found.image.load()
    check_wanted("decode")
    image = eight_bit(found.image)
    pixels = fitted(image, found.region, found.target, found.size, fast=found.fast)
    if found.scaled and (is_flat(pixels) or is_delicate(image, found.region, found.target, found.size)):
        return None
    return pixels
