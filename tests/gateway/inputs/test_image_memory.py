"""The header gives an upper bound of the memory for decoding."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clipserve_gateway.inputs import preprocess
from clipserve_gateway.inputs.image_memory import LARGE_BYTES, MOST_BYTES
from clipserve_gateway.inputs.preprocess import ImageLimits, decode, load_image, load_small, open_image
from clipserve_gateway.types import AS_OPEN_CLIP, ImageRules, Preprocess

from testing.hostile.dear import DEAR
from testing.hostile.files import saved
from testing.preprocessing import square

LIMITS = ImageLimits(20 << 20, 64_000_000)
RULES = ImageRules(orientation=True, background=(255, 255, 255))
PIXELS = 8_000_000
ROOT = Path(__file__).parents[3]


def status(name: str) -> int:
    """A number of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def measure() -> None:
    """Decodes each of the expensive images, without and with rules; prints the memory and the bound."""
    # As if all of them had a tag.
    preprocess.orientation_of = lambda content: 6
    for name, make in DEAR.items():
        content = make(PIXELS)
        for fast, rules in ((False, AS_OPEN_CLIP), (True, AS_OPEN_CLIP), (False, RULES), (True, RULES)):
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
            before = status("VmRSS")
            opened = open_image(content, Preprocess(224, 224), rules, limits=LIMITS, fast=fast)
            decode(opened)
            bound = opened.bytes
            del opened
            print(json.dumps([name, fast, status("VmHWM") - before, bound]))


@pytest.mark.slow
def test_no_image_takes_more_memory_than_its_bound():
    code = "from tests.gateway.inputs.test_image_memory import measure; measure()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 4 * len(DEAR)
    assert [row for row in rows if row[2] > row[3]] == []
    assert max(taken for _, _, taken, _ in rows) > 15 * PIXELS, "the most expensive kind is not among them"


@pytest.mark.parametrize("name", DEAR)
def test_of_a_pixel_no_format_takes_more_than_the_most(name):
    opened = open_image(DEAR[name](PIXELS // 8), *square(16), limits=LIMITS, fast=False)
    assert opened.bytes < MOST_BYTES * PIXELS / 8 + (40 << 20)


def test_a_scaled_photograph_takes_little(monkeypatch):
    content = DEAR["jpeg"](48_000_000)
    assert open_image(content, *square(224), limits=LIMITS, fast=True).bytes < LARGE_BYTES / 4
    assert open_image(content, *square(224), limits=LIMITS, fast=False).bytes > LARGE_BYTES


def test_a_small_image_is_decoded_at_once():
    content = saved("PNG")
    one, other = (load(content, *square(16), limits=LIMITS, fast=True) for load in (load_small, load_image))
    np.testing.assert_array_equal(one, other)


def test_of_a_large_one_nothing_is_decoded_until_it_may_be(monkeypatch):
    content = DEAR["webp lossless"](PIXELS + 8000)
    with monkeypatch.context() as patch:
        patch.setattr(preprocess, "decode", lambda opened: pytest.fail("it was decoded"))
        assert load_small(content, *square(16), limits=LIMITS, fast=True) == 9, "megapixels"
    assert load_image(content, *square(16), limits=LIMITS, fast=True).shape == (16, 16, 3)
