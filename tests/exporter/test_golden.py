"""The golden file: what open_clip makes of pictures and texts."""

from __future__ import annotations

import errno
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipserve_exporter.config import ModelFacts, Serving
from clipserve_exporter.errors import ExportError
from clipserve_exporter.export import Order, facts_of
from clipserve_exporter.golden import golden_bytes, picture_files, write_golden
from clipserve_exporter.reference import encode_images, encode_texts, load_pixels
from clipserve_exporter.source import Source, load
from clipserve_exporter.text_length import TextLength
from PIL import Image


def facts(source: Source, name: str = "narrow") -> ModelFacts:
    order = Order("narrow", "", name, "fp32", "python", Path(), 0, Serving())
    return facts_of(source, order, TextLength("ragged"))


def read(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The facts, and the arrays."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays.pop("facts"))), arrays


@pytest.fixture(scope="module")
def golden(
    narrow_model: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Source, dict[str, Any], dict[str, Any]]:
    """A narrow model, and its golden file's facts and arrays."""
    source = load(narrow_model(tmp_path_factory.mktemp("golden") / "narrow"))
    return source, *read(golden_bytes(source, facts(source)))


def test_it_has_the_vectors_of_open_clip(golden) -> None:
    source, described, arrays = golden
    ends = np.cumsum(arrays["image_sizes"])
    contents = [part.tobytes() for part in np.split(arrays["image_bytes"], ends[:-1])]
    assert contents == [content for _, content in picture_files()]
    for row, content in enumerate(contents):
        pixels = load_pixels(content, source.preprocess)
        expected = encode_images(source, pixels[None])[0].numpy()
        np.testing.assert_allclose(arrays["image_vectors"][row], expected, rtol=1e-4, atol=1e-5)
        assert arrays["pixel_sha256"][row] == hashlib.sha256(pixels.tobytes()).hexdigest()
        step = described["pixel_step"]
        np.testing.assert_array_equal(arrays["pixel_sample"][row], pixels[::step, ::step])
    expected = encode_texts(source, described["texts"]).numpy()
    np.testing.assert_allclose(arrays["text_vectors"], expected, rtol=1e-4, atol=1e-5)


def test_it_has_the_ids_of_open_clip_and_which_texts_are_longer(golden) -> None:
    from open_clip import SimpleTokenizer

    _, described, arrays = golden
    tokenizer = SimpleTokenizer()
    np.testing.assert_array_equal(arrays["ids"], tokenizer(described["texts"]).numpy())
    longer = [len(tokenizer.encode(text)) + 2 > 77 for text in described["texts"]]
    assert arrays["truncated"].tolist() == longer
    assert any(longer)
    assert not all(longer)


def test_it_names_the_model_and_how_its_inputs_are_made(golden) -> None:
    source, described, _ = golden
    assert described["format"] == 1
    assert described["model"] == "narrow"
    assert described["fingerprint"] == facts(source).fingerprint
    assert described["preprocess"]["height"] == 32
    assert described["tokenizer"]["kind"] == "openai_bpe"
    assert described["context_length"] == 77
    assert len(described["images"]) == len(set(described["images"]))


def test_its_pictures_are_of_many_kinds_and_need_no_image_rule() -> None:
    kinds, modes, ratios = set(), set(), []
    for _, content in picture_files():
        image = Image.open(io.BytesIO(content))
        kinds.add(image.format)
        modes.add(image.mode)
        ratios.append(image.width / image.height)
        assert not image.getexif()
        assert "transparency" not in image.info
        assert not image.mode.endswith(("A", "a"))
    assert {"JPEG", "PNG", "WEBP", "GIF"} <= kinds
    assert {"RGB", "L", "P", "CMYK"} <= modes
    assert min(ratios) < 0.1
    assert max(ratios) > 10


def test_texts_outgrow_every_context(narrow: Callable[..., Source]) -> None:
    for context in (8, 256):
        source = narrow(text_cfg={"context_length": context})
        described, arrays = read(golden_bytes(source, facts(source)))
        assert arrays["ids"].shape == (len(described["texts"]), context)
        assert arrays["truncated"][-2:].all()
        assert not arrays["truncated"][1]


def test_equal_exports_have_equal_files_below_a_megabyte(golden) -> None:
    source, _, _ = golden
    first, second = (golden_bytes(source, facts(source)) for _ in range(2))
    assert first == second
    assert len(first) < 1_000_000


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_golden(tmp_path, "narrow", b"old")

    def full(self: Path, content: bytes) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ExportError, match=r"narrow\.golden\.npz: No space left on device"):
        write_golden(tmp_path, "narrow", b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
