"""What fast decoding promises of embeddings, by the demo model itself."""

from __future__ import annotations

import io
from pathlib import Path

import clipserve
import numpy as np
import pytest
from gateway.inputs.test_preprocess import drawing
from PIL import Image

CAT = Path(__file__).parents[2] / "demo" / "photos" / "cat.jpg"
SIZE = 2400, 1800


def tiles() -> Image.Image:
    """A photograph repeated: as fine as a small one, and large."""
    whole = np.asarray(Image.open(CAT).convert("RGB"))
    return Image.fromarray(
        np.tile(whole, (SIZE[1] // len(whole) + 1, SIZE[0] // whole.shape[1] + 1, 1))
    ).crop((0, 0, *SIZE))


@pytest.mark.parametrize("name", ["photographs", "chart", "letters", "lines"])
def test_fast_decoding_keeps_embeddings(client: clipserve.Client, name: str) -> None:
    file = io.BytesIO()
    (tiles() if name == "photographs" else drawing(name, *SIZE)).save(file, "JPEG", quality=75)
    fast, exact = client.embed_images([file.getvalue(), clipserve.ExactPixels(file.getvalue())]).embeddings
    assert fast @ exact >= 0.999
