"""Replacements for two of Pillow's decoders that are loops in Python: one is faster, one is bounded."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpRleDecoder

from clipserve_gateway.inputs.image_pieces import too_many_pieces

SLOW_DECODERS = {"ppm", "ppm_plain", "bmp_rle"}
SLOW_BYTES = 2 << 20
"""Most bytes of a file for SLOW_DECODERS, which are Python loops or take much memory."""
RUN_STEPS = 2_000_000
"""Most steps of decoding a run-length encoded BMP: one for each run, and each pixel that fills a line."""


class BoundedState(ImageFile.PyCodecState):
    """Counts reads of its width, of which Pillow does one at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps_left = RUN_STEPS

    @property
    def xsize(self) -> int:
        """The image's width."""
        self.steps_left -= 1
        if self.steps_left < 0:
            raise too_many_pieces()
        return self._width

    @xsize.setter
    def xsize(self, width: int) -> None:
        self._width = width


class BoundedRunLength(BmpRleDecoder):
    """Pillow's decoder with a bound: it takes a step for each missing pixel, 64 million of them for 4 KB."""

    def __init__(self, mode: str, *args: object) -> None:
        super().__init__(mode, *args)
        self.state = BoundedState()


class ScaledSamples(ImageFile.PyDecoder):
    """PPM with another maximum than 255, to the bit like Pillow's decoder, which takes 5 µs a pixel."""

    _pulls_fd = True

    def decode(self, buffer: object) -> tuple[int, int]:
        """Reads and scales all samples. Pillow reports a file that is too short."""
        assert self.fd is not None
        most = self.args[-1]
        to, dtype = (65535, "<i4") if self.mode == "I" else (255, "u1")
        count = self.state.xsize * self.state.ysize * Image.getmodebands(self.mode)
        kind = np.dtype("u1" if most < 256 else ">u2")
        data = self.fd.read(count * kind.itemsize)
        samples = np.frombuffer(data, kind, len(data) // kind.itemsize)
        scaled = np.minimum(to, np.rint(samples / most * to)).astype(dtype)
        self.set_as_raw(scaled.tobytes(), "I;32" if self.mode == "I" else self.mode)
        return -1, 0


def install() -> None:
    """Replaces Pillow's decoders in this process."""
    Image.register_decoder("bmp_rle", BoundedRunLength)
    Image.register_decoder("ppm", ScaledSamples)
