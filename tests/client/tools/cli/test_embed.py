"""`clipserve embed`."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.mark.parametrize("suffix", ["npy", "npz", "json"])
def test_embeddings_are_written(run, photos, tmp_path, client, suffix):
    out = tmp_path / f"out.{suffix}"
    text = run("embed", photos / "a.png", "--text", "a cat", "-o", out).output
    assert "wrote 2 × 16 embeddings" in text
    expected = [
        client.embed_images([photos / "a.png"]).embeddings[0],
        client.embed_texts(["a cat"]).embeddings[0],
    ]
    if suffix == "npy":
        written = np.load(out)
    elif suffix == "npz":
        with np.load(out) as arrays:
            written = arrays["embeddings"]
            assert arrays["names"].tolist() == [str(photos / "a.png"), "a cat"]
            assert str(arrays["fingerprint"]) == "f" * 64
    else:
        written = np.array([row["embedding"] for row in json.loads(out.read_text())["rows"]], np.float32)
    np.testing.assert_array_equal(written, expected)


def test_embeddings_can_be_printed(answer, run, photos, tmp_path):
    document = answer("embed", "--text", "x", "--text", "y" * 20, "--raw")
    assert [len(row["embedding"]) for row in document["rows"]] == [16, 16]
    texts = tmp_path / "texts.txt"
    texts.write_text("one\ntwo\n" + "word " * 100)
    assert len(answer("embed", "--texts-file", texts)["truncated"]) == 1
    (photos / "broken.png").write_bytes(b"junk")
    document = answer("embed", photos, code=3)
    [failed] = [row for row in document["rows"] if row["embedding"] is None]
    assert failed["error"]["reason"] == "IMAGE_UNREADABLE"
    assert failed["name"] == failed["error"]["name"] == str(photos / "broken.png")
    assert sum("error" in row for row in document["rows"]) == 1
    run("embed", photos, code=2)
    run("embed", "-o", "x.npy", code=2)
    run("embed", "--text", "x", "-o", "x.txt", code=2)


@pytest.mark.parametrize(
    ("format", "shape", "dtype"), [("int8", (2, 16), "int8"), ("ubinary", (2, 2), "uint8")]
)
def test_small_forms_are_written_as_the_client_returns_them(
    run, photos, tmp_path, client, format, shape, dtype
):
    out = tmp_path / "out.npz"
    arguments = ("embed", photos / "a.png", "--text", "a cat", "--format", format)
    assert f"wrote 2 × 16 {format} embeddings" in run(*arguments, "-o", out).output
    with np.load(out) as arrays:
        written = arrays["embeddings"]
        assert str(arrays["format"]) == format
    assert (written.shape, written.dtype) == (shape, dtype)
    expected = client.embed_texts(["a cat"], format=format).embeddings[0]
    np.testing.assert_array_equal(written[1], expected)


def test_the_first_dimensions_need_permission(answer, run):
    text = ("embed", "--text", "a cat", "--dimensions", "4")
    assert "allow_truncation" in run(*text, "--json", code=1).output
    document = answer(*text, "--allow-truncation", "--format", "int8")
    assert (document["dim"], document["format"]) == (4, "int8")
    [row] = document["rows"]
    assert all(isinstance(number, int) for number in row["embedding"])
    assert len(row["embedding"]) == row["tokens"] == 4


def test_rows_that_failed_are_zeros_in_integers(run, photos, tmp_path):
    (photos / "broken.png").write_bytes(b"junk")
    out = tmp_path / "out.npy"
    said = run("embed", photos / "broken.png", photos / "a.png", "--format", "int8", "-o", out, code=3).output
    assert "1 failed, their rows are 0" in said
    written = np.load(out)
    assert not written[0].any()
    assert written[1].any()
