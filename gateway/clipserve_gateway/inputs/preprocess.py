"""Image bytes to the pixels that an image encoder sees.

Exact mode without rules reproduces open_clip's preprocessing to the bit, in its order: resize, crop or pad,
RGB. An embedding is worth comparing only with embeddings of the same pixels, so what that order makes of odd
images holds here too. docs/pixels.md has the whole policy:

- The rules for orientation and transparency apply before, to the whole image (see `image_rules`). Without
  them, EXIF orientation is not applied; alpha is dropped after resizing, without a background, and what shows
  is the color under it, which for fully transparent pixels is black once they have been resized. TIFF's own
  orientation tag is always applied: there the decoder itself obeys it.
- Color profiles are ignored.
- Palette and 1-bit images are resized by nearest neighbor.
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
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

# The accepted formats. Otherwise the first WebP or TIFF makes Pillow import all the formats that it knows.
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

from clipserve_gateway.errors import ClipserveError, ImageError, ImageTooLarge, ImageUnreadable
from clipserve_gateway.flow.wanted import check_wanted
from clipserve_gateway.inputs import image_decoders
from clipserve_gateway.inputs.fitting import (
    WHOLE_PIXELS,
    Box,
    Fit,
    fit_of,
    fitted,
    is_delicate,
    is_flat,
)
from clipserve_gateway.inputs.image_file import READS_TO_DECODE, open_file
from clipserve_gateway.inputs.image_limits import ImageLimits, check_header, check_pixels
from clipserve_gateway.inputs.image_memory import (
    BUFFER_BYTES,
    COPY_BYTES,
    LARGE_BYTES,
    copy_bytes,
    decoder_bytes,
)
from clipserve_gateway.inputs.image_orientation import ORIENTATION, UPRIGHT, orientation_of
from clipserve_gateway.inputs.image_rules import Steps, background_of
from clipserve_gateway.types import ImageRules, Pixels, Preprocess, RawImage

T = TypeVar("T")

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

SCALED_SIDES = 4
"""Least sides of a scaled JPEG, in sides of the target. With less, embeddings of photographs change."""

image_decoders.install()

# Warnings about a caller's file do not belong in the server's log.
warnings.filterwarnings("ignore", module="PIL")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Opened:
    """An image whose header was checked and that is not decoded yet."""

    image: Image.Image
    box: Box
    """The part that is resized, of the image after its steps."""
    fit: Fit
    steps: Steps
    fast: bool
    scaled: bool
    """Whether the decoder scales it down."""
    pixels: int
    """Width × height in the file."""
    bytes: int
    """Most memory for decoding and resizing."""


def load_image(
    content: bytes, preprocess: Preprocess, rules: ImageRules, *, limits: ImageLimits, fast: bool
) -> Pixels:
    """The pixels of an encoded image: uint8 [height, width, 3], read-only.

    Raises ImageUnreadable, ImageFormatUnsupported or ImageTooLarge. Any error of the decoder for a malformed
    file becomes ImageUnreadable. Nothing is decoded before the header was checked.
    """
    image = open_image(content, preprocess, rules, limits=limits, fast=fast)
    pixels = guarded(lambda: decode(image))
    if pixels is None:
        return load_image(content, preprocess, rules, limits=limits, fast=False)
    return pixels


def load_small(
    content: bytes, preprocess: Preprocess, rules: ImageRules, *, limits: ImageLimits, fast: bool
) -> Pixels | int:
    """Like load_image. If decoding takes more than LARGE_BYTES of memory: only the megapixels, rounded up."""
    image = open_image(content, preprocess, rules, limits=limits, fast=fast)
    if image.bytes > LARGE_BYTES:
        return math.ceil(image.pixels / 1e6)
    pixels = guarded(lambda: decode(image))
    if pixels is None:
        return load_small(content, preprocess, rules, limits=limits, fast=False)
    return pixels


def open_image(
    content: bytes, preprocess: Preprocess, rules: ImageRules, *, limits: ImageLimits, fast: bool
) -> Opened:
    """The image after its header was read and checked. Raises as load_image does."""
    if len(content) > limits.max_bytes:
        raise ImageTooLarge(
            f"the image has {len(content)} bytes; at most {limits.max_bytes} are accepted",
            metadata={"limit": str(limits.max_bytes)},
        )
    file = open_file(content)
    image = guarded(lambda: Image.open(file, formats=FORMATS))
    guarded(lambda: check_header(image, len(content), limits))
    file.reads_left = READS_TO_DECODE
    return guarded(lambda: prepare(image, content, preprocess, rules, fast=fast))


def load_raw(
    raw: RawImage, preprocess: Preprocess, rules: ImageRules, *, limits: ImageLimits, fast: bool
) -> Pixels:
    """The pixels of a decoded image: uint8 [height, width, 3], read-only.

    Raises ImageTooLarge, or ImageUnreadable if there are not width × height × 3 bytes.
    """
    width, height = raw.width, raw.height
    try:
        check_pixels(width, height, limits.max_pixels)
    except ImageError as error:
        raise error.at("raw") from None
    if len(raw.rgb) != width * height * 3:
        raise ImageUnreadable(
            f"{width} × {height} RGB pixels are {width * height * 3} bytes, not {len(raw.rgb)}",
            field="raw.rgb",
        )
    steps = Steps(raw.orientation if rules.orientation else UPRIGHT)
    image = steps.apply(Image.frombuffer("RGB", (width, height), raw.rgb, "raw", "RGB", 0, 1))
    return fitted(image, (0, 0, *image.size), fit_of(*image.size, preprocess), fast=fast)


def raw_bytes(raw: RawImage, rules: ImageRules) -> int:
    """Most bytes for the pixels of a decoded image while load_raw works, without those received."""
    turned = rules.orientation and raw.orientation != UPRIGHT
    return (COPY_BYTES if turned else COPY_BYTES // 2) * raw.width * raw.height


def to_png(raw: RawImage) -> bytes:
    """Decoded pixels as a PNG file, with their orientation."""
    exif = Image.Exif()
    if raw.orientation != UPRIGHT:
        exif[ORIENTATION] = raw.orientation
    file = io.BytesIO()
    image = Image.frombuffer("RGB", (raw.width, raw.height), raw.rgb, "raw", "RGB", 0, 1)
    image.save(file, "PNG", compress_level=1, exif=exif if len(exif) else None)
    return file.getvalue()


def guarded(step: Callable[[], T]) -> T:
    """The result of a step of decoding. Its errors become ImageUnreadable or ImageTooLarge."""
    try:
        return step()
    except ClipserveError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageUnreadable(f"not an image of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ImageTooLarge("the image has far more pixels than are accepted") from None
    except MemoryError:
        raise ImageTooLarge("the image needs more memory than the server has") from None
    except Exception as error:
        # Pillow describes what is wrong with a file in OSError. Other errors are about Python's values.
        why = str(error)[:200] if isinstance(error, OSError) else "it is damaged, or not an image"
        raise ImageUnreadable(f"the image cannot be decoded: {why}") from error


def prepare(
    image: Image.Image, content: bytes, preprocess: Preprocess, rules: ImageRules, *, fast: bool
) -> Opened:
    """The image with all facts that are known before it is decoded."""
    orientation = orientation_of(content) if rules.orientation else UPRIGHT
    steps = Steps(orientation, *background_of(image, rules.background))
    original, fit = image.size, fit_of(*steps.size(image.size), preprocess)
    pixels = image.width * image.height
    least = steps.size((SCALED_SIDES * fit.target[0], SCALED_SIDES * fit.target[1]))
    draft = image.draft("RGB", least) if fast else None
    # The last row and column of a scaled JPEG may cover less than a whole pixel.
    box = steps.box(draft[1] if draft else (0, 0, *image.size), image.size)
    memory = decoder_bytes(image, pixels, content)
    if steps.any:
        memory = max(memory, copy_bytes(image))
    if fit.target[0] * fit.target[1] <= WHOLE_PIXELS:
        # Pillow resizes horizontally first, then vertically.
        memory += 4 * fit.target[0] * (steps.size(image.size)[1] + fit.target[1])
    return Opened(image, box, fit, steps, fast, image.size != original, pixels, BUFFER_BYTES + memory)


def decode(opened: Opened) -> Pixels | None:
    """Decodes, resizes and crops an image. None if it was scaled and must be decoded exactly instead.

    An image is decoded once.
    """
    check_wanted("decode")
    opened.image.load()
    check_wanted("decode")
    image = opened.steps.apply(opened.image)
    pixels = fitted(image, opened.box, opened.fit, fast=opened.fast)
    if opened.scaled:
        shown = opened.fit.without_border(pixels)
        if is_flat(shown) or is_delicate(image, opened.box, opened.fit):
            return None
    return pixels
