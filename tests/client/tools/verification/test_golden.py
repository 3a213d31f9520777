"""Reading golden files."""

from __future__ import annotations

import pickle
import zipfile
from typing import Any

import numpy as np
import pytest
from client.golden_files import PICTURES, TEXTS, golden_entries, write_golden
from clipserve.tools.verification import golden
from clipserve.tools.verification.golden import GoldenError, read_golden


def test_it_has_what_the_export_recorded(tmp_path):
    read = read_golden(write_golden(tmp_path / "a.npz"))
    assert read.model == "fake"
    assert read.fingerprint == "f" * 64
    assert read.images == PICTURES
    assert read.texts == TEXTS
    assert read.truncated == (False, False, False, True)
    np.testing.assert_array_equal(read.text_vectors, golden_entries()["text_vectors"])


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut", pickle.dumps({"a": 1})])
def test_other_files_are_refused_with_what_to_do(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(GoldenError, match=r"is not a golden file: .*clipserve-export writes one"):
        read_golden(path)


@pytest.mark.parametrize("entry", sorted(golden_entries()))
def test_a_missing_entry_is_named(tmp_path, entry):
    entries = golden_entries()
    del entries[entry]
    with pytest.raises(GoldenError, match=f"it lacks '{entry}'"):
        read_golden(write_golden(tmp_path / "a.npz", entries))


def cases() -> dict[str, tuple[dict[str, Any], str]]:
    """Entries that do not fit together, and a part of the message."""
    right = golden_entries()
    vectors = right["image_vectors"]
    return {
        "sizes": ({"image_sizes": right["image_sizes"] + 1}, "do not add up"),
        "negative size": ({"image_sizes": np.array([-1, 5])}, "do not add up"),
        "fewer rows": ({"image_vectors": vectors[:-1]}, r"image_vectors is float32 \(4, 16\), not"),
        "double": ({"image_vectors": vectors.astype(float)}, "image_vectors is float64"),
        "nan": ({"image_vectors": vectors * np.nan}, "zero or not finite"),
        "zero": ({"text_vectors": right["text_vectors"] * 0}, "text_vectors has rows that are zero"),
        "flags": ({"truncated": np.array([True])}, "do not match"),
        "not JSON": ({"facts": np.array("{")}, "is not a golden file"),
        "no object": ({"facts": np.array("[1]")}, "is not a golden file"),
        "deep JSON": ({"facts": np.array("[" * 100_000)}, "is not a golden file"),
        "an object that runs code": ({"facts": np.array([print], object)}, "is not a golden file"),
        "real bytes": ({"image_bytes": right["image_bytes"].astype(float)}, "is not a golden file"),
        "no pictures": (
            golden_entries(images=[])
            | {
                "image_bytes": np.zeros(0, np.uint8),
                "image_sizes": np.zeros(0, int),
                "image_vectors": vectors[:0],
            },
            "no pictures",
        ),
    }


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize(("changes", "message"), cases().values(), ids=cases())
def test_entries_that_do_not_fit_together_are_refused(tmp_path, changes, message):
    path = write_golden(tmp_path / "a.npz", golden_entries() | changes)
    with pytest.raises(GoldenError, match=message):
        read_golden(path)


def test_a_newer_format_is_named(tmp_path):
    with pytest.raises(GoldenError, match=r"has format '?2'?; this command reads format 1"):
        read_golden(write_golden(tmp_path / "a.npz", format=2))


def test_a_file_that_grows_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("facts.npy", bytes(70 * 1024 * 1024))
    monkeypatch.setattr(golden.np, "load", None)
    with pytest.raises(GoldenError, match=r"it holds 73,400,320 bytes"):
        read_golden(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(GoldenError, match=r"missing\.npz' cannot be read: No such file"):
        read_golden(tmp_path / "missing.npz")
