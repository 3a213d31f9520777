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
